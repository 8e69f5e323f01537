"""A robot whose failures are all RobotErrors, so that the runtime knows whose fault they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from robot_client.errors import RobotError
from robot_client.robot import Action, Reading, Robot, as_action
from robot_client.schema import REWARD, row_fields

T = TypeVar("T")


class GuardedRobot:
    """Passes every call on; whatever comes out of a robot but its answer becomes a RobotError.

    `stop` and `close` never raise: what went wrong in them stands in `last_failure`.
    """

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._fields = row_fields(robot.observation_space, robot.action_space)
        self.last_failure = ""

    def connect(self) -> None:
        """Open the device."""
        self._call("connect", self._robot.connect)

    def reset(self, seed: int | None) -> None:
        """Begin an episode."""
        self._call("reset", lambda: self._robot.reset(seed))

    def observe(self) -> Reading:
        """Read the sensors."""
        return self._call("observe", lambda: self._checked(self._robot.observe()))

    def apply(self, action: Action) -> Action:
        """Send an action; what was really sent, in the form of the action space."""
        space = self._robot.action_space
        return self._call(
            "apply", lambda: _finite("apply", as_action(space, self._robot.apply(action)))
        )

    @property
    def can_hold(self) -> bool:
        """Whether the robot has a way of its own to hold."""
        return hasattr(self._robot, "hold")

    def hold(self) -> Action | None:
        """The robot's own `hold()`, which returns the action it amounts to; None without one."""
        hold = getattr(self._robot, "hold", None)
        if hold is None:
            return None
        return self._call(
            "hold", lambda: _finite("hold", as_action(self._robot.action_space, hold()))
        )

    def stop(self) -> None:
        """Go to a safe state. A signal does not break it off: it is asked for again."""
        try:
            self._quietly("stop", self._robot.stop)
        except KeyboardInterrupt:
            self._quietly("stop", self._robot.stop)

    def close(self) -> None:
        """Release the device."""
        self._quietly("close", self._robot.close)

    def _checked(self, reading: Reading) -> Reading:
        """The reading, whose values may be recorded: a NaN would never leave the spool."""
        if set(reading.obs) != set(self._robot.observation_space.spaces):
            raise RobotError(f"observe: the observations are {sorted(reading.obs)}")
        for name, array in {**reading.obs, REWARD: np.asarray(reading.reward, np.float32)}.items():
            field = self._fields[name]
            _finite(f"observe: {name}", np.asarray(array))
            if (array.dtype.name, array.shape) != (field.dtype, field.shape):
                raise RobotError(
                    f"observe: {name} is {array.dtype.name} {array.shape}"
                    f" instead of {field.dtype} {field.shape}"
                )
            if field.n is not None and not 0 <= array < field.n:
                raise RobotError(f"observe: {name} is {array} of {field.n} values")
        return reading

    def _call(self, name: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except RobotError:
            raise
        except Exception as error:  # a device's driver may raise anything
            raise RobotError(f"{name}: {type(error).__name__}: {error}") from error

    def _quietly(self, name: str, call: Callable[[], None]) -> None:
        try:
            self._call(name, call)
        except RobotError as error:
            self.last_failure = f"{name}: {error}"


def _finite(where: str, array: NDArray[Any]) -> NDArray[Any]:
    if not np.isfinite(array).all():
        raise RobotError(f"{where}: not finite: {array.ravel()[:4].tolist()}")
    return array
