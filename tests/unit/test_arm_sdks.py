"""What only the UR5's driver does, and what only the xArm's."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from robot_client.errors import RobotError
from robot_client.robots import ur5
from robot_client.robots.pick_place import GRIP
from robot_client.robots.robotiq import Robotiq
from robot_client.robots.ur5 import Ur5
from robot_client.robots.xarm import XArm
from tests.unit.arm_doubles import LAYOUT, GripperServer, World, beside, count_looks, install


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return install(monkeypatch)


@pytest.fixture
def gripper(monkeypatch: pytest.MonkeyPatch) -> Iterator[GripperServer]:
    with GripperServer() as server:
        monkeypatch.setattr(ur5, "Robotiq", partial(Robotiq, port=server.port))
        yield server


def test_a_ur5_out_of_its_own_limits_is_refused_before_it_moves(world, gripper):
    robot = Ur5("127.0.0.1", LAYOUT, clock=world.clock)
    robot.connect()
    world.fails.add("limits")
    with pytest.raises(RobotError, match="safety limits"):
        robot.reset()
    assert not world.named("move")
    robot.close()


def test_a_script_that_was_ended_at_the_pendant_is_not_sent_again(world, gripper):
    robot = Ur5("127.0.0.1", LAYOUT, clock=world.clock)
    robot.connect()
    robot.reset()
    world.script = False
    world.calls.clear()
    with pytest.raises(RobotError, match="ended or paused"):
        robot.apply(np.asarray(GRIP))
    robot.close()
    world.script = True
    with pytest.raises(RobotError, match="start the client anew"):
        robot.connect()
    assert not world.named("control", "move")


@pytest.mark.parametrize(
    ("safety", "mode", "why"),
    [(5, 7, "safeguard"), (7, 7, "emergency"), (11, 7, "safety mode 11"), (1, 3, "robot mode 3")],
)
def test_a_ur5_says_why_it_does_not_run(world, gripper, safety, mode, why):
    world.safety, world.mode = safety, mode
    with pytest.raises(RobotError, match=why):
        Ur5("127.0.0.1", LAYOUT, clock=world.clock).connect()


def test_a_fault_of_the_gripper_stops_a_ur5(world, gripper):
    robot = Ur5("127.0.0.1", LAYOUT, clock=world.clock)
    robot.connect()
    robot.reset()
    gripper.registers["FLT"] = 14
    with pytest.raises(RobotError, match="fault 14"):
        robot.apply(np.asarray(GRIP))
    robot.close()


@pytest.mark.parametrize(
    "call",
    ["motion_enable", "set_mode", "set_state", "set_gripper_enable", "set_gripper_speed"],
)
def test_every_code_of_an_xarm_is_looked_at(world, call):
    world.fails.add(call)
    robot = XArm("127.0.0.1", LAYOUT, clock=world.clock)
    with pytest.raises(RobotError, match=f"{call}: code 3"):
        robot.connect()


def test_an_xarm_halted_by_somebody_else_is_an_error(world):
    robot = XArm("127.0.0.1", LAYOUT, clock=world.clock)
    robot.connect()
    robot.reset()
    count_looks(world, at=3, call=lambda: setattr(world, "state", 3))
    goal = beside(world)
    with pytest.raises(RobotError, match="halted by somebody else: state 3"):
        robot._device.move(*goal)
    robot.close()


def test_an_xarm_of_other_joints_is_refused(world):
    world.axis = 7
    with pytest.raises(RobotError, match="joints: expected 7, got 6"):
        XArm("127.0.0.1", LAYOUT, clock=world.clock).connect()
    robot = XArm("127.0.0.1", LAYOUT, joints=7, clock=world.clock)
    assert robot.observation_space["joints"].shape == (7,)
    robot.connect()
    robot.close()


def test_an_xarms_gripper_that_stands_still_holds_something(world):
    robot = XArm("127.0.0.1", LAYOUT, clock=world.clock)
    robot.connect()
    robot.reset()
    world.object_at = 400.0
    before = world.clock.monotonic()
    robot._device.grip(0.0)
    assert world.clock.monotonic() - before == pytest.approx(0.5, abs=0.03)
    assert robot._device.state().opening == pytest.approx(400 / 850)
    robot.close()


def test_a_paused_xarm_is_not_let_go_on(world):
    robot = XArm("h", LAYOUT, clock=world.clock)
    world.state = 3
    with pytest.raises(RobotError, match="cannot connect: xArm: paused"):
        robot.connect()
    assert not world.named("set_state", "motion_enable")
    world.state = 0
    robot.connect()
    world.state = 3
    with pytest.raises(RobotError, match="paused"):
        robot.reset()
    robot.close()
