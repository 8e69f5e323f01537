"""What a robot is: the whole interface between a machine and this project, on one page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.schema import Task

Action = NDArray[Any]  # float32 of the Box's shape, or an int64 scalar array for Discrete


@dataclass(frozen=True)
class Reading:
    """What a robot sees at one step, and the reward that arrived with it.

    Args:
        obs: one array per key of the observation space.
        reward: reward received on arriving here; 0 on the first reading of an episode.
        terminated: the task ended here in success or failure: no future reward.
        truncated: the episode ended here for another reason, such as a time limit.
        info: anything else worth showing; never used for learning. `fell`, if true, is counted as a
            fall of the robot, once an episode; `age_s` is how old the reading is, in seconds.
    """

    obs: Mapping[str, NDArray[Any]]
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Robot(Protocol):
    """A machine that acts at a fixed rate. The four attributes hold before `connect()`.

    One control step is `apply(action)` followed, 1 / control_hz seconds later, by `observe()`. A
    simulated robot advances its world by one control period inside `apply`; a real one lets the
    world do so. `robot_client.safety` tells what the client limits unasked, and what a robot may
    declare to change that. `robot_client.testing.check_robot` checks everything said here.
    """

    observation_space: spaces.Dict  # of Box (float32, or uint8 images H x W x C) and Discrete
    action_space: spaces.Box | spaces.Discrete
    control_hz: float
    task: Task

    def connect(self) -> None:
        """Open the device. Raises RobotError when it is not there."""
        ...

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode: bring the robot to a start state. May take many control periods."""
        ...

    def apply(self, action: Action) -> Action:
        """Send an action; return the action really sent, after the robot's own limits."""
        ...

    def observe(self) -> Reading:
        """Read the sensors. Twice in a row, without `apply` between, gives the same reading."""
        ...

    def stop(self) -> None:
        """Go to a safe state at once. Idempotent; allowed at any time; never raises."""
        ...

    def close(self) -> None:
        """Release the device. The robot has been stopped before."""
        ...


def as_action(space: spaces.Box | spaces.Discrete, value: object) -> Action:
    """Convert a policy's output to the array form of an action: (A,) float32 or () int64."""
    if isinstance(space, spaces.Discrete):
        return np.asarray(value, np.int64).reshape(())
    return np.asarray(value, space.dtype).reshape(space.shape)


def rest_action(robot: Robot) -> Action:
    """The action of the robot at rest: the one it declares, or the one nearest to zero."""
    space = robot.action_space
    zero = np.zeros(space.shape or ())
    if isinstance(space, spaces.Box):
        zero = np.clip(zero, space.low, space.high)
    return as_action(space, getattr(robot, "rest_action", zero))
