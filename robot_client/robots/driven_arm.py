"""What the drivers of real arms share: when one may move, when it must not, and how it halts.

An `ArmDevice` of `pick_place` in the terms of a few calls that each SDK answers in its own way.
"""

from __future__ import annotations

import logging
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from robot_client.clock import Clock, SystemClock
from robot_client.errors import RobotError, SchemaError
from robot_client.robots.bins import Bin, Layout, Side
from robot_client.robots.hardware import release, wait_until
from robot_client.robots.pick_place import ArmState, PickPlace

Numbers = NDArray[np.float64]

SPEED = 0.2  # m/s of the tool; below the 0.25 of ISO 10218-1's reduced speed, which is no fence
ACCELERATION = 0.8  # m/s^2
MOST = {"speed": 1.0, "acceleration": 5.0}  # of both arms; more was meant to be in mm
THERE = 0.002  # m: nearer than this the tool has arrived
ASTRAY = 0.01  # m from where it was sent last: somebody moved it
SLANT = math.radians(10)  # that the tool may lean from straight down
SPARE_S = 5.0  # that a move may take longer than it should
SILENCE_S = 30.0  # of one action: a delivery is a grip and up to three moves across the bins

_log = logging.getLogger(__name__)


class Eye(Protocol):
    """A camera with depth."""

    def connect(self) -> None:
        """Open it."""
        ...

    def picture(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Colours (64, 64, 3) and distances (64, 64) in m."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


class DrivenArm(ABC):
    """A real arm. A driver implements what is abstract here, with lengths in m, angles in rad.

    The tool keeps the rotation that it has when an episode begins, and must point down. Motion
    needs a `begin` after each `stop`. An arm in error is never brought back by itself: somebody
    must see why it stopped, and clear that by the maker's own means. One that somebody else halted
    or moved is not moved again before the client is started anew: they may be at it.

    Args:
        name: of the arm, for messages.
        host: address of its controller.
        eye: its camera.
        speed: of the tool, up to 1 m/s. acceleration: of the tool, up to 5 m/s^2.
        clock: paces the waiting.

    Raises:
        SchemaError: speed or acceleration are out of range.
    """

    def __init__(
        self,
        name: str,
        host: str,
        eye: Eye,
        *,
        speed: float = SPEED,
        acceleration: float = ACCELERATION,
        clock: Clock | None = None,
    ) -> None:
        for key, value in (("speed", speed), ("acceleration", acceleration)):
            if not 0 < value <= MOST[key]:
                raise SchemaError(key, f"above 0 and at most {MOST[key]:g}", value)
        self._name, self._host, self._eye = name, host, eye
        self._speed, self._acceleration = speed, acceleration
        self._clock = clock or SystemClock()
        self._stopped = threading.Event()
        self._still = False  # halted since the last move
        self._rotation = np.zeros(3)  # rotation vector of the tool
        self._at: Numbers | None = None  # (3,) where the tool was sent last
        self._meddled = ""  # what somebody else did to it

    def connect(self) -> None:
        """Open arm, gripper and camera. Nothing moves but a gripper that must be activated."""
        if not self._host:
            raise RobotError(f"{self._name}: host: expected its controller's address, got none")
        self._let_alone()
        self._stopped.clear()
        try:
            self._open()
            self._eye.connect()
        except Exception as error:
            with suppress(RobotError):  # the first error is the one to tell
                self.close()
            raise RobotError(f"{self._name}: cannot connect: {error}") from error

    def begin(self, seed: int | None) -> None:
        """Allow motion. Raises RobotError when the arm is in error, or its tool leans."""
        self._let_alone()
        self._at = None
        self._stopped.clear()  # first: a stop from now on is one of this episode
        self._check()
        self._ready()
        pose = self._pose()
        lean = math.acos(float(np.clip(-_axis(pose[3:])[2], -1, 1)))
        if lean > SLANT:
            degrees = round(math.degrees(lean))
            raise RobotError(f"{self._name}: the tool leans by {degrees} degrees: point it down")
        self._rotation, self._at = pose[3:], pose[:3]

    def state(self) -> ArmState:
        """Measure. Raises RobotError when the arm is in error."""
        self._check()
        pose, joints = self._pose(), self._joints()
        return ArmState(pose.astype(np.float32), joints.astype(np.float32), self._opening())

    def move(self, x: float, y: float, z: float) -> None:
        """Move the tool straight to a point and wait for it.

        Raises:
            RobotError: stopped; the arm is in error, refuses the point, was moved by somebody else,
                or does not arrive.
        """
        goal = np.array([x, y, z])
        self._allowed()
        here = self._pose()[:3]
        assert self._at is not None
        if np.linalg.norm(here - self._at) > ASTRAY:
            raise self._meddling(f"it is at {here}, not at {self._at}")
        self._at = goal
        pose = np.concatenate([goal, self._rotation])
        length = float(np.linalg.norm(goal - here))
        limit = length / self._speed + self._speed / self._acceleration + SPARE_S
        what = f"{self._name}: the move to {goal}"
        self._carry_out(lambda: self._go(pose), lambda: self._arrived(goal), limit, what)

    def grip(self, opening: float) -> None:
        """Open (1) or close (0) the gripper and wait for it. Raises RobotError."""
        self._allowed()
        what = f"{self._name}: the gripper"
        self._carry_out(lambda: self._squeeze(opening), self._gripped, SPARE_S, what)

    def picture(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Colours (64, 64, 3) and distances (64, 64) in m."""
        return self._eye.picture()

    def stop(self) -> None:
        """Halt; a gripper keeps what it holds. Asked again it does nothing, unless it failed."""
        self._stopped.set()
        if self._still:
            return
        try:
            self._halt()
            self._still = True
        except Exception as error:  # noqa: BLE001 - drivers raise anything, and `stop` nothing
            _log.error("%s: could not be stopped: %s", self._name, error)

    def close(self) -> None:
        """Halt and release everything. Raises RobotError with all that went wrong."""
        self.stop()
        self._at = None
        release(self._name, (self._shut, self._eye.close))

    def _allowed(self) -> None:
        if self._at is None or self._stopped.is_set():
            raise RobotError(f"{self._name}: stopped: reset it first")
        self._check()

    def _arrived(self, goal: Numbers) -> bool:
        return not self._moving() and float(np.linalg.norm(self._pose()[:3] - goal)) < THERE

    def _let_alone(self) -> None:
        if self._meddled:
            why = f"{self._meddled}: start the client anew when nobody is near"
            raise RobotError(f"{self._name}: {why}")

    def _meddling(self, what: str) -> RobotError:
        """The error of an arm that somebody else halted or moved; it is remembered.

        A reset, which follows an error by itself, would move it while they are at it.
        """
        if self._stopped.is_set():  # it was a stop of ours
            return RobotError(f"{self._name}: stopped on the way")
        self._meddled = what
        return RobotError(f"{self._name}: {what}")

    def _carry_out(
        self, begin: Callable[[], None], done: Callable[[], bool], limit_s: float, what: str
    ) -> None:
        """Until it is done; a stop from another thread, or any error of the arm, ends it."""

        def asked() -> bool:
            if self._stopped.is_set():
                self._halt()  # the stop may have come just before the command
                raise RobotError(f"{what}: stopped on the way")
            self._check()
            return done()

        self._still = False
        try:
            begin()
            wait_until(asked, self._clock, limit_s, what)
        except BaseException:  # of the SDK, and Ctrl-C: nothing may move that nobody waits for
            self.stop()
            raise

    @abstractmethod
    def _open(self) -> None:
        """Connect arm and gripper. May raise anything."""

    @abstractmethod
    def _shut(self) -> None:
        """Disconnect them, if there is anything to. May raise anything."""

    @abstractmethod
    def _check(self) -> None:
        """Raise RobotError unless the arm is connected and not in error."""

    @abstractmethod
    def _ready(self) -> None:
        """Take commands again after `_halt`. Must not clear an error."""

    @abstractmethod
    def _pose(self) -> Numbers:
        """(6,) position and rotation vector of the tool."""

    @abstractmethod
    def _joints(self) -> Numbers:
        """(N,) angles."""

    @abstractmethod
    def _opening(self) -> float:
        """Of the gripper, 0 to 1."""

    @abstractmethod
    def _go(self, pose: Numbers) -> None:
        """Begin to move to a pose. Raise RobotError if the arm refuses."""

    @abstractmethod
    def _moving(self) -> bool:
        """Whether the tool moves. Raise `_meddling` when somebody else has halted it."""

    @abstractmethod
    def _squeeze(self, opening: float) -> None:
        """Begin to move the gripper."""

    @abstractmethod
    def _gripped(self) -> bool:
        """Whether the gripper has arrived, or holds something."""

    @abstractmethod
    def _halt(self) -> None:
        """End the motion of the arm. From any thread; without a connection there is none."""


class DrivenPickPlace(PickPlace):
    """The task with a real arm, which is not connected before somebody has measured the bins.

    Args:
        arm: the device.
        layout: fields of `Layout`, and of `Bin` in it; None declares the spaces and no more.
        twin: the layout of its simulation, which stands in for the missing one.
        start: the bin with the objects at first.
        name, options: as for `PickPlace`.

    Raises:
        SchemaError: layout or start make no sense.
    """

    silence_s = SILENCE_S

    def __init__(
        self,
        arm: DrivenArm,
        layout: Mapping[str, Any] | None,
        twin: Layout,
        name: str,
        *,
        start: str,
        **options: Any,
    ) -> None:
        if start not in get_args(Side):
            raise SchemaError("start", f"one of {get_args(Side)}", start)
        side: Side = "left" if start == "left" else "right"
        self._measured = layout is not None
        places = twin if layout is None else layout_from(layout)
        super().__init__(arm, places, name, start=side, **options)

    def connect(self) -> None:
        """Open the device. Raises RobotError when it is not there, or the bins are not measured."""
        if not self._measured:
            raise RobotError(f"{self.task.name}: layout: expected where the bins are, got none")
        super().connect()

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode. A seed fixes the cells drawn at random: real things stay put.

        Raises RobotError when the arm is in error, or its tool is not over a bin, or not upright.
        """
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        super().reset(None)


def layout_from(data: Mapping[str, Any]) -> Layout:
    """A layout as JSON has it: `Layout`'s fields, and `Bin`'s for each bin.

    Raises:
        SchemaError: a field is missing, unknown, or makes no sense.
    """
    fields = dict(data)
    try:
        for side in ("left", "right"):
            fields[side] = Bin(**fields[side])
        return Layout(**fields)
    except (KeyError, TypeError) as error:
        raise SchemaError("layout", "the fields of Layout, and of Bin in it", str(error)) from error


def _axis(rotation: Numbers) -> Numbers:
    """(3,) z axis of what a rotation vector turns (Rodrigues' formula)."""
    angle = float(np.linalg.norm(rotation))
    up = np.array([0.0, 0.0, 1.0])
    if angle == 0:
        return up
    axis = rotation / angle
    turned: Numbers = (
        up * math.cos(angle)
        + np.cross(axis, up) * math.sin(angle)
        + axis * axis[2] * (1 - math.cos(angle))
    )
    return turned
