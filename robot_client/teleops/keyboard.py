"""The keyboard of the terminal in which the client runs, also over SSH.

A terminal tells that a key is pressed, again and again while it is held, and never that it is let
go. A key counts as held for HELD_S after its last sign: until it begins to repeat, and when it is
let go, the robot goes on for so long. Space is the emergency stop, Enter hands back.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from typing import Any

from robot_client.clock import Clock, SystemClock
from robot_client.errors import RobotError
from robot_client.messages import Verb
from robot_client.schema import ActionSpace
from robot_client.teleop import Input, Obs
from robot_client.teleops.mapping import Hands
from robot_client.teleops.touch import Touch

HELD_S = 0.3
STOP, HAND_BACK = " ", "enter"
_NAMES = {"\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left", "\r": "enter"}


class Terminal:
    """A terminal that passes every key on at once. Use as a context.

    Args:
        descriptor: of the terminal; None is standard input.

    Raises:
        RobotError: it is no terminal.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        self._before: list[Any] | None = None

    def __enter__(self) -> Terminal:
        try:
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
        except (termios.error, OSError) as error:
            raise RobotError(f"keyboard: no terminal to read keys from: {error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
            self._before = None

    def keys(self) -> list[str]:
        """The keys that have been pressed since the last call. Never waits.

        Raises RobotError when the terminal has gone.
        """
        found = b""
        while select.select([self._descriptor], [], [], 0)[0]:
            read = os.read(self._descriptor, 1024)
            if not read:
                raise RobotError("keyboard: the terminal is closed")
            found += read
        return split_keys(found.decode(errors="replace"))


class Held:
    """Which keys count as held.

    Args:
        clock: real time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}

    def press(self, keys: list[str]) -> frozenset[str]:
        """Take the keys that have given a sign; returns those that are held."""
        now = self._clock.monotonic()
        self._seen |= dict.fromkeys(keys, now)
        self._seen = {key: at for key, at in self._seen.items() if now - at <= HELD_S}
        return frozenset(self._seen)

    def clear(self) -> None:
        """All are let go."""
        self._seen.clear()


class Keyboard:
    """Drives by keys; `robot_client.teleops.mapping.key_table` says which does what.

    Args:
        speed: share of the way to the bounds that a key goes.
        clock: real time.
        terminal: where the keys come from.
    """

    name = "keyboard"

    def __init__(
        self, speed: float = 0.5, clock: Clock | None = None, terminal: Terminal | None = None
    ) -> None:
        self._speed, self._clock = speed, clock or SystemClock()
        self._held = Held(self._clock)
        self._terminal = terminal
        self._touch: Touch | None = None

    def connect(self, space: ActionSpace) -> None:
        """Take the terminal. Raises RobotError when there is none."""
        self._terminal = self._terminal or Terminal()
        self._terminal.__enter__()
        self._touch = Touch(space, self._clock, speed=self._speed)

    def poll(self, obs: Obs | None) -> Input:
        """What is held now."""
        assert self._terminal is not None, "connect comes first"
        assert self._touch is not None
        pressed = self._terminal.keys()
        verbs: tuple[Verb, ...] = ("stop",) if STOP in pressed else ()
        if verbs or HAND_BACK in pressed:
            self._held.clear()
            self._touch.let_go()
            return Input(False, None, verbs)
        return self._touch.input(Hands((), self._held.press(pressed)))

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self._terminal is not None:
            self._terminal.__exit__()


def split_keys(text: str) -> list[str]:
    """Names of the keys in what a terminal sends: arrows are several characters."""
    keys: list[str] = []
    while text:
        name = next((code for code in _NAMES if text.startswith(code)), text[0])
        keys.append("enter" if name == "\n" else _NAMES.get(name, name.lower()))
        text = text[len(name) :]
    return keys
