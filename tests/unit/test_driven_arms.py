"""The drivers of UR5 and xArm, with stand-ins for their SDKs, cameras and gripper."""

import math
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from robot_client.errors import RobotError, SchemaError
from robot_client.robots import bins, ur5, xarm
from robot_client.robots.driven_arm import layout_from
from robot_client.robots.pick_place import GRIP, LIFT, PickPlace
from robot_client.robots.robotiq import Robotiq
from robot_client.testing import check_robot
from tests.unit.arm_doubles import (
    LAYOUT,
    START,
    GripperServer,
    World,
    beside,
    count_looks,
    install,
)

Make = Callable[..., PickPlace]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return install(monkeypatch)


@pytest.fixture
def gripper(monkeypatch: pytest.MonkeyPatch) -> Iterator[GripperServer]:
    with GripperServer() as server:
        monkeypatch.setattr(ur5, "Robotiq", partial(Robotiq, port=server.port))
        yield server


@pytest.fixture(params=["ur5", "xarm"])
def make(request: pytest.FixtureRequest, world: World, gripper: GripperServer) -> Iterator[Make]:
    kind = {"ur5": ur5.Ur5, "xarm": xarm.XArm}[request.param]
    made: list[PickPlace] = []

    def make(**options: Any) -> PickPlace:
        options = {"host": "127.0.0.1", "layout": LAYOUT, "clock": world.clock} | options
        made.append(kind(**options))
        return made[-1]

    yield make
    world.fails.clear()
    for robot in made:
        robot.close()


def begun(make: Make) -> PickPlace:
    robot = make()
    robot.connect()
    robot.reset(0)
    return robot


def break_arm(world: World) -> None:
    """A protective stop of the one, an error of the other."""
    world.safety, world.error = 3, 31
    world.halt()


def put_between_fingers(world: World, gripper: GripperServer) -> None:
    gripper.object_at, world.object_at = 130, 400.0


def moves(world: World) -> np.ndarray:
    """(N, 8): pose, speed, acceleration of each command."""
    return np.array([call[1:] for call in world.named("move")])


def test_it_keeps_the_contract(make, world):
    check_robot(make(), seeded=False)


def test_what_is_observed_is_in_metres_and_radians(make, world):
    robot = begun(make)
    obs = robot.observe().obs
    np.testing.assert_allclose(obs["cartesian"][:3], world.position(), atol=1e-6)
    np.testing.assert_allclose(obs["cartesian"][3:], [math.pi, 0, 0], atol=1e-6)
    np.testing.assert_allclose(obs["joints"], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], atol=1e-6)
    assert obs["gripper"].tolist() == [1]


def test_the_picture_is_the_middle_of_the_cameras_in_its_colours(make):
    image = begun(make).observe().obs["image"]
    assert (image[:, :32] == [200, 0, 0]).all()
    assert (image[:, 32:] == [0, 100, 0]).all()


def test_every_move_is_slow_keeps_the_tool_down_and_stays_in_the_layout(make, world):
    robot = begun(make)
    robot.action_space.seed(1)
    for _ in range(40):
        robot.apply(np.asarray(robot.action_space.sample()))
    sent, at = moves(world), START
    assert len(sent) > 20
    assert (sent[:, 6:] == [0.2, 0.8]).all()
    np.testing.assert_allclose(sent[:, 3:6], np.tile([math.pi, 0, 0], (len(sent), 1)))
    for point in sent[:, :3].tolist():
        robot.layout.check(tuple(at), tuple(point))
        at = point


def test_a_carried_object_is_delivered_for_eleven(make, world, gripper):
    robot = begun(make)
    put_between_fingers(world, gripper)
    reward = 0.0
    for action in [GRIP, LIFT, *[3] * 5]:  # grasp, lift, and towards the right bin
        robot.apply(np.asarray(action))
        reading = robot.observe()
        reward += reading.reward
        if reading.reward == 10:
            break
    assert reward == 11
    assert reading.obs["gripper_side"].tolist() == [0, 0, 1]


def test_a_seed_does_not_make_the_arm_forget_where_the_objects_went(make, world, gripper):
    robot = begun(make)
    put_between_fingers(world, gripper)
    for action in [GRIP, LIFT, *[3] * 5]:
        robot.apply(np.asarray(action))
    assert world.position()[1] < 0
    world.calls.clear()
    robot.reset(0)
    assert (moves(world)[:, 1] < 0).all()


def test_arriving_is_waited_for(make, world):
    device = begun(make)._device
    before, goal = world.clock.monotonic(), beside(world)
    device.move(*goal)
    assert world.clock.monotonic() - before == pytest.approx(0.2, abs=0.021)  # 4 cm at 0.2 m/s
    np.testing.assert_allclose(world.position(), goal)


def test_a_stop_halts_once_and_motion_needs_a_reset(make, world):
    robot = begun(make)
    robot.stop()
    halts = len(world.named("halt"))
    assert halts >= 1
    robot.stop()
    assert len(world.named("halt")) == halts
    with pytest.raises(RobotError, match="stopped: reset it first"):
        robot.apply(np.asarray(GRIP))
    robot.reset()
    robot.apply(np.asarray(GRIP))


def test_hold_sends_nothing_and_keeps_the_episode(make, world):
    robot = begun(make)
    world.calls.clear()
    assert robot.action_space.contains(robot.hold())
    assert world.calls == []
    robot.apply(np.asarray(GRIP))


def test_a_stop_from_another_thread_breaks_a_move_off(make, world):
    robot = begun(make)
    looks = count_looks(world, at=4, call=robot.stop)
    goal = beside(world)
    with pytest.raises(RobotError, match="stopped on the way"):
        robot._device.move(*goal)
    assert len(looks) <= 5  # the look that it came in may go on
    world.during = None
    assert not world.moving()
    assert np.linalg.norm(world.position() - goal) > 0.02


def test_a_stop_between_check_and_command_still_halts(make, world):
    arm = begun(make)._device
    send = arm._go

    def late(pose: Any) -> None:
        arm.stop()
        send(pose)

    arm._go = late
    goal = beside(world)
    with pytest.raises(RobotError, match=r"stopped|code 9"):
        arm.move(*goal)
    arm.stop()
    assert not world.moving()


def test_a_stop_that_failed_is_tried_again_and_never_raises(make, world, caplog):
    robot = begun(make)
    world.fails.add("halt")
    robot.stop()
    assert "could not be stopped" in caplog.text
    world.fails.clear()
    world.calls.clear()
    robot.stop()
    assert world.named("halt")


def test_an_arm_in_error_is_not_moved_and_the_error_not_cleared(make, world):
    robot = begun(make)
    break_arm(world)
    world.calls.clear()
    for call in (lambda: robot.apply(np.asarray(GRIP)), robot.reset):
        with pytest.raises(RobotError, match=r"protective stop|error 31"):
            call()
    robot.stop()
    allowed = {"halt", "stopScript"}
    assert {call[0] for call in world.calls} <= allowed


def test_an_error_on_the_way_ends_the_move_at_once(make, world):
    robot = begun(make)
    looks = count_looks(world, at=5, call=lambda: break_arm(world))
    goal = beside(world)
    with pytest.raises(RobotError, match=r"protective stop|error 31"):
        robot._device.move(*goal)
    assert len(looks) <= 6


def test_an_arm_in_error_is_not_connected(make, world):
    break_arm(world)
    with pytest.raises(RobotError, match=r"cannot connect: .*(protective stop|error 31)"):
        make().connect()
    assert not world.named("control", "motion_enable")


def test_an_arm_that_does_not_arrive_is_halted(make, world):
    robot = begun(make)
    world.blocked, world.at = True, world.position()
    world.calls.clear()
    goal = beside(world)
    with pytest.raises(RobotError, match=r"the move to .*: not done within 5.5 s"):
        robot._device.move(*goal)
    assert [call[0] for call in world.calls] == ["move", "halt"]


def test_an_arm_that_was_moved_by_hand_is_not_moved_on(make, world):
    robot = begun(make)
    goal = world.position()
    world.at = world.goal = np.add(goal, [0, 0, 0.05])
    world.calls.clear()
    with pytest.raises(RobotError, match="not at"):
        robot._device.move(*goal)
    assert world.calls == []


def halted_by_hand(world: World) -> None:
    """The stop of UFACTORY Studio, and that of the pendant, which ends the script."""
    world.halt()
    world.state, world.script = 4, False


def moved_by_hand(world: World) -> None:
    world.at = world.goal = np.add(world.position(), [0, 0, 0.05])


@pytest.mark.parametrize("meddle", [halted_by_hand, moved_by_hand])
def test_an_arm_that_somebody_halted_or_moved_is_not_brought_back_by_itself(make, world, meddle):
    robot = begun(make)
    goal = beside(world)
    if meddle is halted_by_hand:
        count_looks(world, at=4, call=lambda: meddle(world))
    else:
        meddle(world)
    with pytest.raises(RobotError):
        robot._device.move(*goal)
    robot.stop()
    robot.close()
    world.during, world.state, world.script = None, 0, True
    world.calls.clear()
    for call in (robot.connect, robot.reset):
        with pytest.raises(RobotError, match="start the client anew when nobody is near"):
            call()
    assert world.calls == []


def test_a_stop_of_ours_on_the_way_is_nobody_elses(make, world):
    robot = begun(make)
    x = 0.44 if world.position()[0] < 0.4 else 0.4
    goal = [x, *world.position()[1:]]
    count_looks(world, at=4, call=robot.stop)
    with pytest.raises(RobotError, match="stopped on the way"):
        robot._device.move(*goal)
    world.during = None
    robot.close()
    robot.connect()
    robot.reset()
    robot.apply(np.asarray(GRIP))


@pytest.mark.parametrize("error", [RuntimeError("SDK"), KeyboardInterrupt()])
def test_nothing_moves_on_that_is_not_waited_for(make, world, error):
    robot = begun(make)
    goal = beside(world)

    def fail() -> None:
        world.during = None
        raise error

    count_looks(world, at=4, call=fail)
    with pytest.raises(type(error)):
        robot._device.move(*goal)
    assert not world.moving()


def test_a_stop_while_an_episode_begins_is_not_forgotten(make, world):
    robot = make()
    robot.connect()
    count_looks(world, at=1, call=robot.stop)
    with pytest.raises(RobotError, match="stopped"):
        robot.reset()
    assert not world.named("move", "set_gripper_position")


def test_a_tool_that_leans_is_not_moved(make, world):
    robot = make()
    robot.connect()
    angle = math.pi - math.radians(30)
    world.rotation = np.array([angle, 0, 0])
    with pytest.raises(RobotError, match="leans by 30 degrees"):
        robot.reset()
    assert not world.named("move")


def test_a_tool_outside_the_layout_is_not_moved(make, world):
    robot = make()
    robot.connect()
    world.at = world.goal = np.array([0.8, 0.0, 0.1])
    with pytest.raises(RobotError, match="outer limits"):
        robot.reset()
    assert not world.named("move")


@pytest.mark.parametrize("failure", ["camera", "connect"])
def test_what_cannot_be_connected_is_an_error(make, world, failure):
    world.fails.add(failure)
    with pytest.raises(RobotError, match="cannot connect"):
        make().connect()


def test_a_move_that_the_arm_refuses_is_an_error(make, world):
    robot = make()
    robot.connect()
    world.fails.add("move")
    with pytest.raises(RobotError, match=r"refused to move|code 3"):
        robot.reset()


def test_a_camera_without_pictures_is_an_error(make, world):
    robot = begun(make)
    world.fails.add("frames")
    with pytest.raises(RobotError, match="no picture: Frame didn't arrive"):
        robot.observe()


def test_a_lost_connection_is_an_error(make, world):
    robot = begun(make)
    world.connected = False
    with pytest.raises(RobotError, match="no connection"):
        robot.apply(np.asarray(GRIP))
    robot.stop()


def test_close_halts_and_releases_everything(make, world):
    robot = begun(make)
    world.calls.clear()
    robot.close()
    names = [call[0] for call in world.calls]
    assert names[0] == "halt"
    assert {"disconnect", "camera.stop"} <= set(names)
    world.calls.clear()
    robot.close()
    robot.stop()
    assert world.calls == []


def test_it_can_be_connected_again(make, world):
    robot = begun(make)
    robot.close()
    robot.connect()
    robot.reset()
    robot.apply(np.asarray(GRIP))


def test_without_a_layout_or_a_host_nothing_is_connected(make, world):
    with pytest.raises(RobotError, match="layout: expected where the bins are"):
        make(layout=None).connect()
    with pytest.raises(RobotError, match="host"):
        make(host="").connect()
    assert world.calls == []


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"speed": 0}, "speed"),
        ({"speed": 100}, "speed"),  # mm/s
        ({"acceleration": math.inf}, "acceleration"),
        ({"start": "middle"}, "start"),
        ({"layout": {"low": 0.1}}, "layout"),
        ({"layout": {**LAYOUT, "height": 1}}, "layout"),
        ({"layout": {**LAYOUT, "hover": 0.01}}, "layout.hover"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, options, field):
    with pytest.raises(SchemaError) as caught:
        make(**options)
    assert caught.value.field == field


def test_a_layout_is_read_from_json():
    assert layout_from(LAYOUT).right == bins.Bin(x=0.36, y=-0.27, columns=5, rows=5)


def test_a_missing_sdk_is_named(monkeypatch):
    for robot, module, package in (
        (ur5.Ur5("h", LAYOUT), "rtde_receive", "ur_rtde"),
        (xarm.XArm("h", LAYOUT), "xarm.wrapper", "xarm-python-sdk"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(RobotError, match=f"pip install {package}"):
            robot.connect()


def test_a_missing_camera_package_is_named_and_the_arm_released(make, world, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    with pytest.raises(RobotError, match="pip install pyrealsense2"):
        make().connect()
    assert world.named("disconnect")
