"""Devices at the robot: what hands do becomes an action of the space, and when that is to drive."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robot_client.clock import ManualClock
from robot_client.errors import RobotError
from robot_client.robot import rest_action
from robot_client.teleop import Input, Teleop
from robot_client.teleops import TELEOPS, make_teleop
from robot_client.teleops.keyboard import HELD_S, Held, Keyboard, Terminal, split_keys
from robot_client.teleops.mapping import DEADBAND, Hands, key_table, to_action, touched
from robot_client.teleops.touch import LINGER_S, Touch

BOX = spaces.Box(np.array([-1, 0, 2], np.float32), np.array([1, 4, 6], np.float32))
CHOICE = spaces.Discrete(4)
KEYS = st.frozensets(st.sampled_from([*"wasdrfqe0123", "up", "left", "button1", "button2"]))
AXES = st.lists(st.floats(-2, 2) | st.just(float("nan")), max_size=6).map(tuple)


def play_left(obs: Any) -> Any:
    """For `Script`."""
    return None if obs["x"] > 0 else np.array([-1.0, 0.5])


def play_badly(obs: Any) -> Any:
    raise ZeroDivisionError("a bug")


@given(
    low=arrays(np.float32, 3, elements=st.floats(-5, 5, width=32)),
    width=arrays(np.float32, 3, elements=st.floats(0, 5, width=32)),
    axes=AXES,
    keys=KEYS,
    speed=st.floats(0.1, 1),
)
def test_whatever_hands_do_is_an_action_within_bounds(
    low: Any, width: Any, axes: Any, keys: Any, speed: float
) -> None:
    space = spaces.Box(low, low + width)
    action = to_action(space, Hands(axes, keys), speed=speed)
    assert action is not None
    assert action.dtype == np.float32
    assert (action >= space.low - 1e-5).all()
    assert (action <= space.high + 1e-5).all()


def test_hands_off_is_the_action_of_rest() -> None:
    robot = SimpleNamespace(action_space=BOX)
    np.testing.assert_allclose(to_action(BOX, Hands()), rest_action(robot))  # type: ignore[arg-type]
    np.testing.assert_allclose(to_action(BOX, Hands((DEADBAND, -DEADBAND))), [0, 0, 2])


def test_sticks_go_from_rest_to_the_bounds() -> None:
    for axes, expected in (
        ((1, 1, 1), [1, 4, 6]),
        ((-1, -1, -1), [-1, 0, 2]),
        ((DEADBAND + (1 - DEADBAND) / 2, 0), [0.5, 0, 2]),
        ((0, 0, 0, 1), [0, 0, 2]),  # an axis too many
    ):
        np.testing.assert_allclose(to_action(BOX, Hands(axes)), expected, atol=1e-6)


def test_keys_go_both_ways_and_against_each_other() -> None:
    for keys, expected in (
        ("w", [1, 0, 2]),
        ("s", [-1, 0, 2]),
        ("ws", [0, 0, 2]),
        ("ar", [0, 4, 6]),
    ):
        np.testing.assert_allclose(to_action(BOX, Hands((), frozenset(keys))), expected)
    np.testing.assert_allclose(to_action(BOX, Hands.of((), frozenset({"ArrowUp"}))), [1, 0, 2])
    np.testing.assert_allclose(to_action(BOX, Hands((), frozenset("w")), speed=0.5), [0.5, 0, 2])


def test_a_bound_that_is_infinite_is_one_away() -> None:
    space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    np.testing.assert_allclose(to_action(space, Hands((1.0, -1.0))), [1, -1])


def test_each_choice_has_a_key_and_a_button() -> None:
    for keys, expected in (({"2"}, 2), ({"button3"}, 3), ({"3", "1"}, 1)):
        action = to_action(CHOICE, Hands((), frozenset(keys)))
        assert action is not None
        assert (int(action), action.dtype, action.shape) == (expected, np.int64, ())
    assert to_action(CHOICE, Hands((1.0,), frozenset({"w", "4", "button4"}))) is None


@pytest.mark.parametrize("space", [BOX, CHOICE, spaces.Box(-1, 1, (30,)), spaces.Discrete(50)])
def test_the_table_of_keys_tells_the_truth(space: Any) -> None:
    table = key_table(space)
    assert len(set(table)) == len(table)
    off = to_action(space, Hands())
    for key, meaning in table.items():
        action = to_action(space, Hands((), frozenset({key})))
        assert action is not None
        if isinstance(space, spaces.Discrete):
            assert meaning == f"choice {int(action)}"
        elif meaning.startswith("+"):
            assert action[int(meaning.split()[-1])] > off[int(meaning.split()[-1])]


@given(AXES, KEYS)
def test_touch_is_what_moves_something(axes: Any, keys: Any) -> None:
    if not touched(Hands(axes, keys)):
        np.testing.assert_allclose(to_action(BOX, Hands(axes, keys)), [0, 0, 2])


def test_a_touch_takes_over_and_letting_go_hands_back_after_a_moment() -> None:
    clock = ManualClock(5.0)
    touch = Touch(BOX, clock)
    assert touch.input(Hands((0.1, 0))) == Input(False)
    moved = touch.input(Hands((0.5, 0)))
    assert moved.engaged
    clock.advance(LINGER_S)
    lingering = touch.input(Hands((0.0, 0)))  # on its way to the other side
    assert lingering.engaged
    assert lingering.action is not None
    clock.advance(0.01)
    assert touch.input(Hands()) == Input(False)
    touch.input(Hands((0.5,)))
    touch.let_go()
    assert not touch.input(Hands()).engaged


@pytest.mark.parametrize("name", TELEOPS)
def test_every_row_of_the_table_is_a_device(name: str) -> None:
    options = ' {"play": "tests.unit.test_teleops:play_left"}' if name == "script" else ""
    made = make_teleop(name + options)
    assert isinstance(made, Teleop)
    assert made.name == name
    made.close()  # also when it was never opened


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("joystik", "There are: gamepad, keyboard, script"),
        ("gamepad {", "gamepad"),
        ('gamepad {"colour": 1}', "colour"),
        ('script {"play": "no.such:thing"}', "no.such"),
        ("robot_client.clock:SystemClock", "is no Teleop"),
        ("robot_client.clock:Sundial", "Sundial"),
    ],
)
def test_what_is_no_device_is_refused(spec: str, why: str) -> None:
    with pytest.raises(RobotError, match=why):
        make_teleop(spec)


def test_a_script_drives_where_it_wants_to() -> None:
    script = make_teleop('script {"play": "tests.unit.test_teleops:play_left"}')
    script.connect(BOX)
    assert script.poll(None) == Input(True)
    assert script.poll({"x": np.array(1.0)}) == Input(False)
    played = script.poll({"x": np.array(-1.0)})
    assert played is not None
    assert played.action is not None
    assert played.action.tolist() == [-1.0, 0.5]
    bad = make_teleop('script {"play": "tests.unit.test_teleops:play_badly"}')
    with pytest.raises(RobotError, match="a bug"):
        bad.poll({})


def test_keys_as_a_terminal_sends_them() -> None:
    assert split_keys("wA\x1b[A\x1b[D \n\r") == ["w", "a", "up", "left", " ", "enter", "enter"]


def test_a_key_is_held_for_a_moment_after_its_last_sign() -> None:
    clock = ManualClock()
    held = Held(clock)
    assert held.press(["w"]) == {"w"}
    clock.advance(HELD_S)
    assert held.press(["a"]) == {"w", "a"}
    clock.advance(0.01)
    assert held.press([]) == {"a"}


def test_driving_by_the_keys_of_a_terminal() -> None:
    ours, theirs = os.openpty()
    clock = ManualClock()
    keyboard = Keyboard(1.0, clock, Terminal(theirs))
    keyboard.connect(BOX)

    def press(text: str) -> Input:
        os.write(ours, text.encode())
        return keyboard.poll(None)

    assert press("") == Input(False)
    driven = press("w")
    assert driven.action is not None
    np.testing.assert_allclose(driven.action, [1, 0, 2])
    clock.advance(HELD_S + 0.01)
    rests = keyboard.poll(None)
    assert rests.engaged
    assert rests.action is not None
    np.testing.assert_allclose(rests.action, [0, 0, 2])
    assert press("w\r") == Input(False)
    assert press("w ") == Input(False, None, ("stop",))
    assert press("") == Input(False)
    keyboard.close()
    keyboard.close()
    os.close(ours)
    os.close(theirs)


def test_a_keyboard_needs_a_terminal() -> None:
    read, write = os.pipe()
    with pytest.raises(RobotError, match="no terminal"):
        Keyboard(terminal=Terminal(read)).connect(BOX)
    os.close(read)
    os.close(write)


class Pad:
    """What pygame knows of a gamepad."""

    def __init__(self, axes: int = 4, buttons: int = 6) -> None:
        self.axes, self.buttons, self.alive = [0.0] * axes, [False] * buttons, True

    def get_numaxes(self) -> int:
        return len(self.axes)

    def get_numbuttons(self) -> int:
        return len(self.buttons)

    def get_axis(self, number: int) -> float:
        return self.axes[number]

    def get_button(self, number: int) -> bool:
        return self.buttons[number]

    def get_init(self) -> bool:
        return self.alive


@pytest.fixture
def pad(monkeypatch: pytest.MonkeyPatch) -> Pad:
    """A machine with one gamepad."""
    found = Pad()
    joystick = SimpleNamespace(
        init=lambda: None, quit=lambda: None, get_count=lambda: 1, Joystick=lambda number: found
    )
    display = SimpleNamespace(init=lambda: None, quit=lambda: None)
    event = SimpleNamespace(pump=lambda: None)
    double = SimpleNamespace(joystick=joystick, display=display, event=event)
    monkeypatch.setattr("robot_client.teleops.gamepad.import_module", lambda name: double)
    return found


def test_a_gamepad_drives_by_touch(pad: Pad) -> None:
    gamepad = make_teleop('gamepad {"axes": [1, 0], "signs": [-1]}')
    gamepad.connect(BOX)
    assert gamepad.poll(None) == Input(False)
    pad.axes = [1.0, -1.0, 0.0, 0.0]
    driven = gamepad.poll(None)
    assert driven is not None
    assert driven.action is not None
    np.testing.assert_allclose(driven.action, [1, 4, 2])
    gamepad.close()


def test_its_button_is_the_emergency_stop_once_per_press(pad: Pad) -> None:
    gamepad = make_teleop("gamepad")
    gamepad.connect(BOX)
    pad.axes[0], pad.buttons[1] = 1.0, True
    assert gamepad.poll(None) == Input(False, None, ("stop",))
    assert gamepad.poll(None) == Input(False)


def test_buttons_choose_and_the_stop_has_one_of_its_own(pad: Pad) -> None:
    gamepad = make_teleop("gamepad")
    gamepad.connect(CHOICE)
    pad.buttons[1] = True
    driven = gamepad.poll(None)
    assert driven is not None
    assert driven.action == 1
    pad.buttons[4] = True
    assert gamepad.poll(None) == Input(False, None, ("stop",))
    with pytest.raises(RobotError, match="no button 6"):
        make_teleop("gamepad").connect(spaces.Discrete(6))


def test_a_gamepad_that_is_unplugged_is_lost(pad: Pad) -> None:
    gamepad = make_teleop("gamepad")
    gamepad.connect(BOX)
    pad.alive = False
    with pytest.raises(RobotError, match="unplugged"):
        gamepad.poll(None)
    with pytest.raises(RobotError, match="has 1 gamepads"):
        make_teleop('gamepad {"number": 1}').connect(BOX)


def test_pygame_itself_finds_no_gamepad_here() -> None:
    gamepad = make_teleop('gamepad {"number": 99}')
    with pytest.raises(RobotError, match="this machine has"):
        gamepad.connect(BOX)
