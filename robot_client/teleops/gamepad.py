"""A gamepad or joystick at the robot, read by pygame-ce (`pip install dreamfleet[teleop]`).

Its axes move the numbers of the action in order, or the choices of a Discrete space are its
buttons. Whoever moves a stick out of its middle, or presses such a button, drives; letting go
hands back. One button more is the emergency stop.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from gymnasium import spaces

from robot_client.clock import Clock, SystemClock
from robot_client.errors import RobotError
from robot_client.schema import ActionSpace
from robot_client.teleop import Input, Obs
from robot_client.teleops.mapping import DEADBAND, Hands
from robot_client.teleops.touch import Touch

STOP_BUTTON = 1  # B on most pads
_QUIET = {  # no window, no banner, and input without a window's focus
    "SDL_VIDEODRIVER": "dummy",
    "SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS": "1",
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
}


class Gamepad:
    """The first gamepad of this machine, or another.

    Args:
        number: of the gamepad, from 0.
        axes: which axis moves each number of the action; axes in order if none are given.
        signs: -1 for each axis that goes the other way, as the vertical ones of most pads do.
        stop: the button that is the emergency stop.
        deadband: of the sticks.
        speed: share of the way to the bounds that a full stick goes.
        clock: real time.
    """

    name = "gamepad"

    def __init__(
        self,
        number: int = 0,
        axes: tuple[int, ...] = (),
        signs: tuple[int, ...] = (),
        stop: int = STOP_BUTTON,
        deadband: float = DEADBAND,
        speed: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        self._number, self._axes, self._signs, self._stop = number, tuple(axes), signs, stop
        self._deadband, self._speed = deadband, speed
        self._clock = clock or SystemClock()
        self._pygame: Any = None
        self._pad: Any = None
        self._touch: Touch | None = None
        self._stopping = False

    def connect(self, space: ActionSpace) -> None:
        """Open it. Raises RobotError when pygame-ce or the gamepad is not there."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        try:
            self._pygame = import_module("pygame")
        except ImportError as error:
            raise RobotError("gamepad: run pip install dreamfleet[teleop]") from error
        self._pygame.display.init()  # its event queue is where gamepads speak
        self._pygame.joystick.init()
        count = self._pygame.joystick.get_count()
        if self._number >= count:
            self.close()
            raise RobotError(f"gamepad {self._number}: this machine has {count} gamepads")
        self._pad = self._pygame.joystick.Joystick(self._number)
        self._stop_at(space)
        self._touch = Touch(space, self._clock, self._deadband, self._speed)

    def poll(self, obs: Obs | None) -> Input:
        """What is held now. Raises RobotError when the gamepad has been unplugged."""
        assert self._touch is not None, "connect comes first"
        self._pygame.event.pump()
        if self._pygame.joystick.get_count() <= self._number or not self._pad.get_init():
            raise RobotError("gamepad: unplugged")
        pressed = {n for n in range(self._pad.get_numbuttons()) if self._pad.get_button(n)}
        before, self._stopping = self._stopping, self._stop in pressed
        if self._stopping:
            self._touch.let_go()
            return Input(False, None, () if before else ("stop",))
        keys = frozenset(f"button{n}" for n in pressed) if self._discrete else frozenset[str]()
        return self._touch.input(Hands(self._sticks(), keys))

    def close(self) -> None:
        """Let go of it."""
        if self._pygame is not None:
            self._pygame.joystick.quit()
            self._pygame.display.quit()
        self._pad = None

    def _stop_at(self, space: ActionSpace) -> None:
        """The stop has a button of its own: behind those of the choices, where these need it."""
        self._discrete = isinstance(space, spaces.Discrete)
        if isinstance(space, spaces.Discrete) and self._stop < int(space.n):
            self._stop = int(space.n)
        if self._stop >= self._pad.get_numbuttons():
            raise RobotError(f"gamepad: there is no button {self._stop} for the emergency stop")

    def _sticks(self) -> tuple[float, ...]:
        if self._discrete:
            return ()
        count = self._pad.get_numaxes()
        chosen = self._axes or tuple(range(count))
        signs = (*self._signs, *(1,) * len(chosen))
        found = [self._pad.get_axis(axis) if axis < count else 0.0 for axis in chosen]
        return tuple(sign * value for sign, value in zip(signs, found, strict=False))
