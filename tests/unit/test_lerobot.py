"""LeRobot's robots, behind a stand-in for its package and, where that is installed, itself."""

import importlib
import importlib.util
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_client.clock import ManualClock, SystemClock
from robot_client.errors import RobotError, SchemaError
from robot_client.robots import make_robot
from robot_client.robots.lerobot import LeRobotRobot
from robot_client.safety import SafetyFilter
from robot_client.schema import Source
from robot_client.testing import check_robot
from tests.unit.control import Chooser, start
from tests.unit.lerobot_double import stand_in

INSTALLED = importlib.util.find_spec("lerobot") is not None
LIMITS = {"pan.pos": [-90, 90], "lift.pos": [-60, 60], "wheel.vel": [-0.5, 0.5]}
POSITIONS = [20.0, -30.0]  # where the arm is at first
TOY = "tests.unit.toyarm"


@pytest.fixture(params=["stand-in", *(["lerobot"] if INSTALLED else [])])
def toy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the toy arm, built on the one or the other."""
    if request.param == "stand-in":
        for name, module in stand_in().items():
            monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, TOY, raising=False)
    module = importlib.import_module(TOY)
    yield module
    sys.modules.pop(TOY, None)
    if request.param != "stand-in":
        registry = importlib.import_module("lerobot.robots").RobotConfig._choice_registry
        registry.pop("toy_arm", None)


@pytest.fixture
def make(toy: Any, tmp_path: Path) -> Iterator[Callable[..., LeRobotRobot]]:
    made: list[LeRobotRobot] = []

    def make(config: dict[str, Any] | None = None, **options: Any) -> LeRobotRobot:
        config = {"port": "p", "calibration_dir": str(tmp_path), **(config or {})}
        options = {"limits": LIMITS, "cameras": {"front": [4, 6]}, "clock": ManualClock()} | options
        made.append(LeRobotRobot("toy_arm", config, **options))
        return made[-1]

    yield make
    for robot in made:
        robot.stop()


def largest_step(device: Any, name: str) -> float:
    return float(np.abs(np.diff([goal[name] for goal in device.sent])).max())


def begun(robot: LeRobotRobot, toy: Any) -> Any:
    """Connect and reset; the device behind it."""
    robot.connect()
    robot.reset()
    return toy.MADE[-1]


def action(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def last_sent(device: Any) -> list[float]:
    return [device.sent[-1][name] for name in LIMITS]


def ten_minus_pan(obs: dict[str, np.ndarray]) -> float:
    return 10.0 - float(obs["state"][0])


def test_it_keeps_the_contract(make):
    check_robot(make(), seeded=False)


def test_it_declares_an_so101_before_it_is_connected_and_loads_nothing_for_it():
    before = set(sys.modules)
    robot = make_robot("lerobot")
    assert "lerobot.robots" not in set(sys.modules) - before
    assert robot.observation_space["state"].shape == (6,)
    assert robot.action_space.low.tolist() == [-90] * 5 + [0]
    assert robot.action_space.high.tolist() == [90] * 5 + [100]


def test_its_options_can_be_written_as_json():
    options = {"limits": LIMITS, "cameras": {"front": [4, 6]}, "control_hz": 10, "task": "wave"}
    robot = make_robot(f"lerobot {json.dumps(options)}")
    assert robot.observation_space["front"].shape == (4, 6, 3)
    assert robot.action_space.high.tolist() == [90, 60, 0.5]
    assert (robot.control_hz, robot.task.name) == (10, "wave")


def test_numbers_and_pictures_are_lerobots_own_in_the_declared_order(make, toy):
    robot = make(state=["lift.pos", "wheel.vel", "pan.pos"])
    begun(robot, toy)
    reading = robot.observe()
    assert reading.obs["state"].tolist() == [-30, 0, 20]
    assert reading.obs["state"].dtype == np.float32
    assert reading.obs["front"].shape == (4, 6, 3)
    assert robot.observation_space.contains(dict(reading.obs))


def test_actions_arrive_under_their_names(make, toy):
    robot = make(max_speed=1e6, max_lead=100)
    device = begun(robot, toy)
    executed = robot.apply(action(50, -10, 0.25))
    assert device.sent[-1] == {"pan.pos": 50, "lift.pos": -10, "wheel.vel": 0.25}
    assert executed.tolist() == [50, -10, 0.25]
    assert robot.observe().obs["state"].tolist() == [50, -10, 0.25]


def test_what_is_returned_is_what_lerobot_sent_not_what_was_asked_for(make, toy):
    robot = make({"step": 4.0}, max_speed=1e6, max_lead=100)
    begun(robot, toy)
    assert robot.apply(action(90, -60, 0)).tolist() == [24, -34, 0]


def test_connecting_holds_the_positions_there_are_and_does_not_calibrate(make, toy):
    robot = make()
    robot.connect()
    assert last_sent(toy.MADE[-1]) == [*POSITIONS, 0]


def test_no_action_jumps_however_far_it_asks_for(make, toy):
    """30 units a second at 10 Hz are 3 units a step; a wheel's speed is no position."""
    robot = make(control_hz=10, max_speed=30)
    device = begun(robot, toy)
    found = [robot.apply(action(90, -60, 0.5)).tolist() for _ in range(3) if robot.observe()]
    assert found == [[23, -33, 0.5], [26, -36, 0.5], [29, -39, 0.5]]
    assert largest_step(device, "pan.pos") == pytest.approx(3)


def test_the_first_action_through_the_safety_layer_does_not_jump_either(make, toy):
    robot = make(control_hz=10, max_speed=30)
    begun(robot, toy)
    safe = SafetyFilter.for_robot(robot)(action(90, 60, 0.5))
    executed = robot.apply(safe)
    assert np.abs(executed[:2] - POSITIONS).max() <= 3 + 1e-5


def test_a_blocked_arm_is_never_pulled_further_than_the_lead(make, toy):
    robot = make(max_lead=5)
    begun(robot, toy).blocked = True
    for _ in range(100):
        executed = robot.apply(action(90, -30, 0))
        robot.observe()
    assert executed.tolist() == [25, -30, 0]


def test_a_position_far_outside_its_limits_is_refused_and_not_pulled_back(make, toy):
    robot = make()
    robot.connect()
    toy.MADE[-1].at["lift.pos"] = 80.0
    with pytest.raises(RobotError, match=r"lift\.pos: expected within -60 and 60, got 80"):
        robot.reset()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_action_that_is_not_finite_is_refused_and_moves_nothing(make, toy, value):
    robot = make()
    device = begun(robot, toy)
    before = list(device.sent)
    with pytest.raises(RobotError, match="3 finite numbers"):
        robot.apply(action(value, 0, 0))
    assert device.sent == before


def test_stop_holds_the_present_position_once_and_refuses_actions_until_a_reset(make, toy):
    robot = make(max_lead=50)
    device = begun(robot, toy)
    robot.apply(action(40, -30, 0.5))
    device.at["pan.pos"] = 21.0  # on its way
    robot.stop()
    assert last_sent(device) == [21, -30, 0]
    sent = len(device.sent)
    device.at["pan.pos"] = 20.5  # its weight
    robot.stop()
    assert len(device.sent) == sent
    with pytest.raises(RobotError, match="reset it first"):
        robot.apply(action(0, 0, 0))
    robot.reset()
    robot.apply(action(0, 0, 0))
    robot.stop()
    assert len(device.sent) == sent + 2


def test_hold_is_an_action_of_the_present_positions_and_keeps_the_episode(make, toy):
    robot = make()
    device = begun(robot, toy)
    robot.apply(action(20, -30, 0.5))
    robot.observe()
    assert robot.hold().tolist() == [20, -30, 0]
    sent = len(device.sent)
    assert robot.hold().tolist() == [20, -30, 0]
    assert len(device.sent) == sent
    robot.apply(action(20, -30, 0))


def test_what_is_seen_while_it_holds_is_new(make, toy):
    robot = make()
    device = begun(robot, toy)
    robot.apply(action(20, -30, 0))
    for place in (-30.0, -31.0, -32.0):  # it sags
        robot.hold()
        device.at["lift.pos"] = place
        assert robot.observe().obs["state"][1] == place


def test_after_a_stop_hold_still_tells_what_is_held(make, toy):
    robot = make()
    device = begun(robot, toy)
    robot.apply(action(20, -30, 0.5))
    device.at["lift.pos"] = -31.0
    robot.stop()
    assert robot.hold().tolist() == [20, -31, 0]


def test_stop_never_raises_when_the_device_does_not_answer(make, toy, caplog):
    robot = make()
    device = begun(robot, toy)
    robot.apply(action(20, -30, 0.5))
    device.answers = False
    robot.stop()
    assert "could not be told to hold still" in caplog.text
    device.answers = True
    robot.stop()  # the first one did not succeed
    assert last_sent(device) == [*POSITIONS, 0]


def test_stop_gets_through_while_the_loop_hangs_in_a_camera(make, toy):
    robot = make(clock=SystemClock())
    device = begun(robot, toy)
    robot.apply(action(20.5, -30, 0.5))
    robot.observe()
    robot.apply(action(20.5, -30, 0.5))
    hanging, hangs = threading.Event(), threading.Event()
    observe = device.get_observation

    def frozen() -> Any:
        hangs.set()
        hanging.wait(20)
        return observe()

    device.get_observation = frozen
    loop = threading.Thread(target=robot.observe)
    loop.start()
    assert hangs.wait(5)
    robot.stop()
    assert last_sent(device) == [20.5, -30, 0]
    hanging.set()
    loop.join(5)
    assert not loop.is_alive()
    with pytest.raises(RobotError, match="stopped"):
        robot.apply(action(0, 0, 0))


def test_a_goal_that_a_stop_overtook_does_not_stand(make, toy):
    robot = make()
    device = begun(robot, toy)
    send = device.send_action

    def overtaken(goal: Any) -> Any:
        device.send_action = send
        threading.Thread(target=robot.stop).start()
        while not robot._stopped.is_set():
            pass
        return send(goal)

    device.send_action = overtaken
    with pytest.raises(RobotError, match="stopped"):
        robot.apply(action(22, -30, 0.5))
    assert last_sent(device)[2] == 0


def test_a_reset_goes_home_at_the_greatest_speed_and_no_faster(make, toy):
    clock = ManualClock()
    robot = make(home={"pan.pos": 0, "lift.pos": 0}, control_hz=10, max_speed=30, clock=clock)
    device = begun(robot, toy)
    assert robot.observe().obs["state"].tolist() == [0, 0, 0]
    assert clock.monotonic() == pytest.approx(1.0)  # 30 units
    assert largest_step(device, "lift.pos") == pytest.approx(3)
    assert robot.rest_action.tolist() == [0, 0, 0]


def test_a_blocked_way_home_is_an_error_and_the_arm_holds_still(make, toy):
    robot = make(home={"pan.pos": 0, "lift.pos": 0})
    robot.connect()
    device = toy.MADE[-1]
    device.blocked = True
    with pytest.raises(RobotError, match="the way home is blocked"):
        robot.reset()
    assert last_sent(device) == [*POSITIONS, 0]


def test_a_stop_ends_the_way_home(make, toy):
    class StoppingClock(ManualClock):
        def sleep_until(self, deadline: float) -> None:
            super().sleep_until(deadline)
            if self.monotonic() > 0.2:
                robot.stop()

    robot = make(home={"pan.pos": 0, "lift.pos": 0}, clock=StoppingClock())
    robot.connect()
    with pytest.raises(RobotError, match="stopped"):
        robot.reset()
    assert toy.MADE[-1].at["lift.pos"] < -15


def test_close_takes_the_power_off(make, toy):
    robot = make()
    device = begun(robot, toy)
    assert device.bus.power
    robot.close()
    robot.close()
    robot.stop()
    assert not device.bus.power


def test_close_takes_the_power_off_even_when_lerobot_refuses_for_a_lost_camera(make, toy):
    robot = make()
    device = begun(robot, toy)
    device.camera = False
    robot.stop()
    robot.close()
    assert not device.bus.power


def test_motors_that_may_still_be_under_power_are_an_error(make, toy):
    robot = make()
    device = begun(robot, toy)
    device.answers = False

    def fails(disable_torque: bool = True) -> None:
        raise ConnectionError("no answer of motor 3")

    device.bus.disconnect = fails
    with pytest.raises(RobotError, match=r"under power: .*no answer of motor 3"):
        robot.close()


def test_it_can_be_connected_again(make, toy):
    robot = make()
    first = begun(robot, toy)
    robot.close()
    second = begun(robot, toy)
    assert second is not first
    assert robot.observe().obs["state"].tolist() == [*POSITIONS, 0]


def test_the_reward_is_the_users_function_of_the_observations(make, toy):
    robot = make(reward="tests.unit.test_lerobot:ten_minus_pan", max_speed=1e6, max_lead=99)
    begun(robot, toy)
    assert robot.observe().reward == 0  # the first of an episode
    robot.apply(action(4, 0, 0))
    assert robot.observe().reward == 6


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ({"calibrated": False}, {}, "not calibrated: run lerobot-calibrate"),
        ({"port": ""}, {}, "could not open the port"),
        ({"baud": 9600}, {}, "LeRobot cannot make it"),
        ({}, {"limits": {"pan.pos": [0, 1]}}, "limits: expected .*lift.pos"),
        ({}, {"cameras": {"back": [4, 6]}}, "cameras: expected .*None"),
        ({}, {"cameras": {"front": [8, 6]}}, "cameras: expected .*4, 6, 3"),
        ({}, {"state": [*LIMITS, "pan.torque"]}, "state: expected"),
    ],
)
def test_what_does_not_fit_the_real_robot_is_refused_on_connect(make, config, options, message):
    with pytest.raises(RobotError, match=message):
        make(config, **options).connect()


def test_a_robot_that_could_not_be_connected_is_left_without_power(make, toy):
    with pytest.raises(RobotError, match="calibrated"):
        make({"calibrated": False}).connect()
    assert not toy.MADE[-1].bus.power


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"limits": {}}, "limits"),
        ({"limits": {"a.pos": [1, 0]}}, "limits.a.pos"),
        ({"limits": {"a.vel": [1, 2]}}, "limits.a.vel"),
        ({"limits": {"a.pos": [0, np.inf]}}, "limits.a.pos"),
        ({"limits": {"a.pos": [0, 1]}, "state": ["b.pos"]}, "state"),
        ({"cameras": {"state": [4, 4]}}, "cameras"),
        ({"home": {"shoulder_pan.pos": 0}}, "home"),
        ({"limits": {"a.pos": [0, 1]}, "home": {"a.pos": 2}}, "home"),
        ({"max_speed": 0}, "max_speed"),
        ({"max_lead": -1}, "max_lead"),
        ({"control_hz": 0}, "control_hz"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, field):
    with pytest.raises(SchemaError) as caught:
        LeRobotRobot(**options)
    assert caught.value.field == field


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lerobot.robots", None)
    with pytest.raises(RobotError, match="pip install lerobot"):
        LeRobotRobot().connect()


def test_an_unknown_type_names_what_could_not_be_loaded(toy):
    with pytest.raises(RobotError, match="no_such_arm: LeRobot cannot make it"):
        LeRobotRobot("no_such_arm").connect()


@pytest.mark.parametrize("reward", ["nowhere", "no.such:f", "math:pi", ":f"])
def test_a_reward_that_is_no_function_is_refused(reward):
    with pytest.raises(RobotError, match="module:function"):
        LeRobotRobot(reward=reward)


def test_under_the_runtime_a_lost_arm_loses_its_power_and_another_try_is_made(make, toy):
    """The first policy step sees the camera go; whoever is connected at the end has no power."""

    def choose(asked: int) -> list[float]:
        toy.MADE[-1].camera = asked != 3
        return [22.0, -30.0, np.nan if asked == 5 else 0.0]

    made = len(toy.MADE)
    robot = make(episode_steps=4)
    runtime, recorder, _ = start(robot, Chooser(choose))
    runtime.run()
    first, second = toy.MADE[made:]
    assert not first.bus.power
    assert not second.bus.power
    sources = [Source(source) for source in recorder.column("source")]
    assert sources.count(Source.HOLD) == 1  # for the action that was no number
    held = recorder.rows[sources.index(Source.HOLD)]["action"].tolist()
    assert held[:2] == pytest.approx([second.at["pan.pos"], -30], abs=2)
    assert second.sent[-1]["wheel.vel"] == 0
