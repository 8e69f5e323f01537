"""The driver of the Sphero, with stand-ins for its SDK and its camera."""

import sys
import threading
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from robot_client.clock import ManualClock
from robot_client.errors import RobotError, SchemaError
from robot_client.robots import arena
from robot_client.robots.sphero import Sphero
from robot_client.testing import check_robot

FORWARD, REVERSE, OFF = 1, 2, 0
PICTURE = "tests.unit.test_sphero_driver:picture"
ARENA: dict[str, Any] = {}  # the toy of the running test, for `picture`


class Toy:
    """A toy that records its commands; the picture shows a ball of which it moves the place."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.drive_control = self
        self.answers = self.found = self.seen = True
        self.place = (48, 16)  # column, row of the ball in the picture
        self.block: threading.Event | None = None

    def __enter__(self) -> "Toy":
        self._call("enter")
        return self

    def __exit__(self, *error: object) -> None:
        self._call("exit")

    def wake(self) -> None:
        self._call("wake")

    def set_stabilization(self, on: bool) -> None:
        self._call("stabilization", on)

    def set_raw_motors(self, *words: int) -> None:
        self._call("motors", *words)

    def motors(self) -> list[tuple[int, ...]]:
        """Commands since it was connected last."""
        connected = [i for i, call in enumerate(self.calls) if call[0] == "stabilization"]
        since = self.calls[max(connected, default=0) :]
        return [call[1:] for call in since if call[0] == "motors"]

    def _call(self, *call: Any) -> None:
        self.calls.append(call)
        if not self.answers:
            raise TimeoutError("no answer")


def picture() -> np.ndarray:
    """(96, 128, 3): an orange ball on grey, in the middle square of which the arena lies."""
    shown = np.full((96, 128, 3), 90, np.uint8)
    toy = ARENA["toy"]
    if toy.seen:
        column, row = toy.place
        shown[row + 16 - 3 : row + 16 + 3, column + 32 - 3 : column + 32 + 3] = [255, 90, 25]
    return shown


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    toy = Toy()

    class ToyNotFoundError(Exception): ...

    def find_toy(toy_name: str | None) -> Toy:
        toy.calls.append(("find", toy_name))
        if not toy.found:
            raise ToyNotFoundError
        return toy

    package = ModuleType("spherov2")
    package.scanner, package.controls = ModuleType("scanner"), ModuleType("controls")
    package.scanner.find_toy = find_toy
    package.controls.RawMotorModes = type(
        "RawMotorModes", (), {"OFF": OFF, "FORWARD": FORWARD, "REVERSE": REVERSE}
    )
    monkeypatch.setitem(sys.modules, "spherov2", package)
    monkeypatch.setitem(sys.modules, "spherov2.scanner", package.scanner)
    monkeypatch.setitem(sys.modules, "spherov2.controls", package.controls)
    monkeypatch.setitem(ARENA, "toy", toy)
    return toy


def made(**options: Any) -> Sphero:
    return Sphero(**({"camera": PICTURE, "clock": ManualClock()} | options))


def begun(**options: Any) -> Sphero:
    robot = made(**options)
    robot.connect()
    robot.reset(0)
    return robot


def action(left: float, right: float) -> np.ndarray:
    return np.array([left, right], np.float32)


def test_it_keeps_the_contract(toy):
    check_robot(made(), seeded=False)


def test_it_wakes_the_toy_by_its_name_and_switches_motors_and_stabilisation_off(toy):
    made(toy="2B-1A2B").connect()
    wake = [("find", "2B-1A2B"), ("enter",), ("wake",)]
    assert toy.calls == [*wake, ("motors", OFF, 0, OFF, 0), ("stabilization", False)]


@pytest.mark.parametrize(
    ("powers", "words"),
    [
        ((1, 1), (FORWARD, 70, FORWARD, 70)),
        ((-1, 0.5), (REVERSE, 70, FORWARD, 35)),
        ((0, -0.1), (OFF, 0, REVERSE, 7)),
        ((3, -3), (FORWARD, 70, REVERSE, 70)),
    ],
)
def test_powers_are_shares_of_seventy_in_the_sdks_words(toy, powers, words):
    robot = begun()
    executed = robot.apply(action(*powers))
    assert toy.motors()[-1] == words
    np.testing.assert_array_equal(executed, np.clip(np.float32(powers), -1, 1))


def test_a_reset_moves_five_times_at_full_power_for_a_second_and_settles(toy):
    clock = ManualClock()
    robot = begun(clock=clock)
    assert clock.monotonic() == pytest.approx(9)
    *moves, last = toy.motors()
    assert len(moves) == 5
    assert all(70 in (left, right) for _, left, _, right in moves)
    assert last == (OFF, 0, OFF, 0)
    assert robot.observe().reward == 0


def test_a_seed_fixes_the_moves_of_a_reset(toy):
    robot = begun()
    first = toy.motors()
    toy.calls.clear()
    robot.reset(0)
    assert toy.motors() == first
    toy.calls.clear()
    robot.reset(None)
    assert toy.motors() != first


def test_the_reward_is_the_distance_seen_in_the_picture_that_is_observed(toy):
    robot = begun()
    toy.place = (48, 48)
    robot.apply(action(0, 0.5))
    reading = robot.observe()
    shown = reading.obs["camera"]
    assert shown.shape == (64, 64, 3)
    # Rows and columns 45 to 50 of 64: the middle is 48, three quarters to the right, a quarter up.
    distance = float(np.hypot(0.75 - 0.825, 0.25 - 0.165))
    assert reading.reward == pytest.approx(-distance, abs=1e-5)
    assert reading.info["age_s"] == 0
    toy.place = (10, 10)
    assert robot.observe() is reading  # until the next action


def test_where_the_arena_lies_in_the_picture_is_an_option(toy):
    robot = begun(look={"left": 0.5, "right": 1.0})
    toy.place = (48, 48)
    robot.apply(action(0, 0.5))
    distance = float(np.hypot(0.5 - 0.825, 0.25 - 0.165))
    assert robot.observe().reward == pytest.approx(-distance, abs=1e-5)


def test_stop_switches_the_motors_off_once_and_needs_a_reset(toy):
    robot = begun()
    robot.apply(action(1, 1))
    robot.stop()
    assert toy.motors()[-1] == (OFF, 0, OFF, 0)
    sent = len(toy.calls)
    robot.stop()
    assert len(toy.calls) == sent
    with pytest.raises(RobotError, match="reset it first"):
        robot.apply(action(1, 1))
    assert len(toy.calls) == sent
    robot.reset()
    robot.apply(action(1, 1))


def test_hold_is_no_power_and_keeps_the_episode(toy):
    robot = begun()
    robot.apply(action(1, 1))
    assert robot.hold().tolist() == [0, 0]
    assert toy.motors()[-1] == (OFF, 0, OFF, 0)
    robot.apply(action(1, 1))


def test_what_is_seen_while_it_holds_is_new(toy):
    robot = begun()
    robot.apply(action(1, 1))
    robot.observe()
    robot.hold()
    toy.place = (20, 40)
    assert robot.observe().reward < -0.5
    toy.place = (53, 53)  # the goal
    robot.hold()
    assert robot.observe().reward > -0.1


def test_stop_never_raises_and_is_tried_again(toy, caplog):
    robot = begun()
    robot.apply(action(1, 1))
    toy.answers = False
    robot.stop()
    assert "could not be stopped: TimeoutError" in caplog.text
    toy.answers = True
    robot.stop()
    assert toy.motors()[-1] == (OFF, 0, OFF, 0)


def test_a_stop_gets_through_while_a_command_hangs_and_is_not_undone_by_it(toy):
    robot = begun()
    hangs, release = threading.Event(), threading.Event()
    send = toy.set_raw_motors

    def hang(*words: int) -> None:
        toy.set_raw_motors = send
        hangs.set()
        release.wait(20)
        send(*words)

    toy.set_raw_motors = hang
    errors: list[RobotError] = []

    def loop_once() -> None:
        try:
            robot.apply(action(1, 1))
        except RobotError as error:
            errors.append(error)

    loop = threading.Thread(target=loop_once)
    loop.start()
    assert hangs.wait(5)
    robot.stop()
    assert toy.motors()[-1] == (OFF, 0, OFF, 0)
    release.set()
    loop.join(5)
    assert toy.motors()[-2:] == [(FORWARD, 70, FORWARD, 70), (OFF, 0, OFF, 0)]
    assert "stopped" in str(errors[0])


def test_a_stop_ends_a_reset(toy):
    class StoppingClock(ManualClock):
        def sleep_until(self, deadline: float) -> None:
            super().sleep_until(deadline)
            if self.monotonic() > 1.5:
                robot.stop()

    robot = made(clock=StoppingClock())
    robot.connect()
    with pytest.raises(RobotError, match="stopped"):
        robot.reset(0)
    assert len(toy.motors()) == 3  # two moves and the stop
    assert toy.motors()[-1] == (OFF, 0, OFF, 0)


def test_close_switches_off_and_releases(toy):
    robot = begun()
    robot.apply(action(1, 1))
    robot.close()
    robot.close()
    assert toy.calls[-2:] == [("motors", OFF, 0, OFF, 0), ("exit",)]


def test_a_toy_that_is_not_there_is_an_error_with_its_name(toy):
    toy.found = False
    with pytest.raises(RobotError, match="Sphero SB-1: cannot connect: ToyNotFoundError"):
        made(toy="SB-1").connect()


def test_a_toy_that_does_not_answer_is_an_error(toy):
    toy.answers = False
    with pytest.raises(RobotError, match="no answer"):
        made().connect()


def test_a_ball_that_is_not_in_the_picture_is_an_error(toy):
    toy.seen = False
    robot = made()
    robot.connect()
    with pytest.raises(RobotError, match="not in the picture"):
        robot.reset()


@pytest.mark.parametrize("bad", [(np.nan, 0), (np.inf, 0)])
def test_an_action_that_is_not_finite_is_refused(toy, bad):
    robot = begun()
    sent = len(toy.calls)
    with pytest.raises(RobotError, match="finite"):
        robot.apply(action(*bad))
    assert len(toy.calls) == sent


def test_a_missing_sdk_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "spherov2.scanner", None)
    with pytest.raises(RobotError, match="pip install spherov2"):
        made().connect()


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(SchemaError, match="look"):
        made(look={"colour": 1})
    with pytest.raises(SchemaError, match="hue"):
        made(look={"hue": [0, 400]})
    assert arena.MAX_POWER == 70
