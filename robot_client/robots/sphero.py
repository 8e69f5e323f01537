"""A Sphero over Bluetooth, seen by a camera above its arena, that must roll to a goal.

The hardware of which `sim.sphero` is the twin: everything about the task is in `arena`. DayDreamer
had an Ollie; any of Sphero's that spherov2 can drive by raw motor power will do.

Written against spherov2 0.12 and OpenCV's VideoCapture. Tested with stand-ins for both: not with a
toy, over a radio, or with a camera. A toy that has lost the radio keeps its last power for as long
as its firmware lets it: nothing here can reach it then.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from robot_client.clock import Clock, SystemClock
from robot_client.errors import RobotError, SchemaError
from robot_client.robot import Action, Reading
from robot_client.robots import arena
from robot_client.robots.frames import frame_source, small_colour
from robot_client.robots.hardware import POLL_S, load_sdk, release

PACKAGE = "spherov2"
STOP_WAIT_S = 0.2  # that `stop` waits for a command under way

_log = logging.getLogger(__name__)


class Sphero:
    """The real ball. Spaces, actions, rewards and reset: `arena`, and `sim.sphero`.

    `info["age_s"]` is the age of the picture. A reset moves the ball for 5 s and waits for 4; a
    seed fixes these moves and nothing else.

    Args:
        toy: its Bluetooth name, such as 2B-1A2B; None takes the first one found.
        camera: number or path for OpenCV's VideoCapture, or `module:function` that returns a
            picture, (H, W, 3) uint8 RGB. The middle of it must be the arena from above.
        look: fields of `arena.Look`: the ball's colour, and where in the picture the arena lies.
        clock: paces the reset.

    Raises:
        SchemaError: `look` makes no sense.
        RobotError: `camera` names no function.
    """

    control_hz = arena.CONTROL_HZ
    task = arena.TASK

    def __init__(
        self,
        toy: str | None = None,
        camera: int | str = 0,
        look: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.observation_space = arena.observation_space()
        self.action_space = arena.action_space()
        self._name, self._clock = toy, clock or SystemClock()
        self._frames = frame_source(camera, self._clock)
        self._referee = arena.Referee(_look(look or {}))
        self._rng = np.random.default_rng()
        self._toy: Any = None
        self._modes: Any = None  # the SDK's names of a motor's directions
        self._radio = threading.Lock()
        self._stopped = threading.Event()
        self._still = True  # whether the motors were told to rest since the last power
        self._begun = False
        self._reading: Reading | None = None  # of the present state, once observed

    def connect(self) -> None:
        """Find the toy, wake it, switch motors and stabilisation off, and open the camera.

        Raises:
            RobotError: spherov2 or OpenCV is not installed, or toy or camera is not there.
        """
        scanner = load_sdk("spherov2.scanner", PACKAGE)
        self._modes = load_sdk("spherov2.controls", PACKAGE).RawMotorModes
        try:
            self._frames.connect()
            toy = scanner.find_toy(toy_name=self._name)
            toy.__enter__()
            self._toy = toy
            toy.wake()
            self._power(np.zeros(2, np.float32))  # those of a client that was killed go on
            toy.drive_control.set_stabilization(False)
        except Exception as error:
            with suppress(RobotError):  # the first error is the one to tell
                self.close()
            why = f"{type(error).__name__} {error}"
            raise RobotError(f"Sphero {self._name or ''}: cannot connect: {why}") from error
        self._referee.forget()

    def reset(self, seed: int | None = None) -> None:
        """Move about at random and settle: 9 seconds.

        Raises:
            RobotError: `stop` came, the toy does not answer, or the ball is not in the picture.
        """
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._reading, self._begun = None, False
        self._stopped.clear()
        for action, seconds in arena.reset_moves(self._rng):
            self._drive(action)
            self._wait(seconds)
        self._reading = self._see(first=True)
        self._begun = True

    def apply(self, action: Action) -> Action:
        """Set the motors' powers, clipped to [-1, 1]; they hold until the next.

        Raises:
            RobotError: the action is not two finite numbers, `stop` was called since the last
                reset, or the toy does not answer.
        """
        sent = arena.sent_action(action)
        if not self._begun:
            raise RobotError("Sphero: reset it first")
        self._reading = None
        self._drive(sent)
        return sent

    def observe(self) -> Reading:
        """The newest picture after the last action or hold, and the reward for it."""
        if not self._begun:
            raise RobotError("Sphero: reset it first")
        if self._reading is None:
            self._reading = self._see(first=False)
        return self._reading

    def hold(self) -> Action:
        """Motors off: the action that this amounts to."""
        rest, self._reading = np.zeros(2, np.float32), None
        if not self._still:
            self._drive(rest)
        return rest

    def stop(self) -> None:
        """Motors off. The next action needs a reset."""
        self._stopped.set()
        if self._toy is None:
            return
        free = self._radio.acquire(timeout=STOP_WAIT_S)
        try:
            if not self._still:
                self._power(np.zeros(2, np.float32))
        except Exception as error:  # noqa: BLE001 - drivers raise anything, and `stop` nothing
            _log.error("Sphero: could not be stopped: %r", error)
        finally:
            if free:
                self._radio.release()

    def close(self) -> None:
        """Motors off, and release toy and camera. Raises RobotError with all that went wrong."""
        self.stop()
        toy, self._toy = self._toy, None
        self._reading, self._begun = None, False
        parts = [self._frames.close]
        if toy is not None:
            parts.append(lambda: toy.__exit__(None, None, None))
        release("Sphero", parts)

    def _drive(self, action: Action) -> None:
        """Raises RobotError after a stop, also one that came while this thread waited."""
        with self._radio:
            if self._stopped.is_set():
                raise RobotError("Sphero: stopped: reset it first")
            self._power(action)
            if self._stopped.is_set():  # by another thread, whose command this one may have passed
                self._power(np.zeros(2, np.float32))
                raise RobotError("Sphero: stopped: reset it first")

    def _power(self, action: Action) -> None:
        """Send the powers of the two motors. Raises whatever the SDK does."""
        if self._toy is None:
            raise RobotError("Sphero: not connected")
        words: list[int] = []
        for power in arena.motor_powers(action):
            modes = self._modes
            mode = modes.FORWARD if power > 0 else modes.REVERSE if power < 0 else modes.OFF
            words += [mode, abs(power)]
        self._still = False
        self._toy.drive_control.set_raw_motors(*words)
        self._still = not action.any()

    def _wait(self, seconds: float) -> None:
        """Raises RobotError when a stop comes meanwhile."""
        end = self._clock.monotonic() + seconds
        while (now := self._clock.monotonic()) < end:
            if self._stopped.is_set():
                raise RobotError("Sphero: stopped during its reset")
            self._clock.sleep_until(min(end, now + POLL_S))

    def _see(self, first: bool) -> Reading:
        picture, age = self._frames.picture()
        reading = self._referee.reading(small_colour(picture, arena.PIXELS), first)
        return replace(reading, info={**reading.info, "age_s": age})


def _look(fields: Mapping[str, Any]) -> arena.Look:
    try:
        return arena.Look(**fields)
    except TypeError as error:
        raise SchemaError("look", "the fields of Look", str(error)) from error
