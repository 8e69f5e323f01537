"""The smallest world with two tasks that share their way: a corridor that forks."""

from __future__ import annotations

from typing import Literal

import numpy as np
from gymnasium import spaces

from robot_client.robot import Reading
from robot_client.schema import Task

LENGTH = 5  # squares before the fork
LEFT, ON, RIGHT = range(3)
_ENDS = {LEFT: LENGTH, RIGHT: LENGTH + 1}


class Fork:
    """A step costs 0.1; at the end of the corridor, the right turn pays 1 and either is the end.

    Args:
        way: the right turn; it is the task's name, and is not observed.
    """

    control_hz = 20.0

    def __init__(self, way: Literal["left", "right"] = "left") -> None:
        self.observation_space = spaces.Dict(square=spaces.Discrete(LENGTH + 2))
        self.action_space = spaces.Discrete(3)
        self.task = Task(way, 30)
        self._good = LEFT if way == "left" else RIGHT
        self._square = 0
        self._reading: Reading | None = None

    def connect(self) -> None:
        """Nothing to open."""

    def reset(self, seed: int | None = None) -> None:
        """At the beginning of the corridor."""
        self._square = 0
        self._reading = Reading({"square": np.int64(0)})

    def apply(self, action: np.ndarray) -> np.ndarray:
        """On, or round a corner where there is one; back to the start against a wall."""
        move, reward, over = int(action), -0.1, False
        at_fork = self._square == LENGTH - 1
        if move == ON:
            self._square = min(self._square + 1, LENGTH - 1)
        elif at_fork:
            self._square, over = _ENDS[move], True
            reward += float(move == self._good)
        else:
            self._square = 0
        self._reading = Reading({"square": np.int64(self._square)}, reward, over)
        return action

    def observe(self) -> Reading:
        """The square, and what came of the last move."""
        assert self._reading is not None, "reset comes first"
        return self._reading

    def stop(self) -> None:
        """It is at rest by itself."""

    def close(self) -> None:
        """Nothing to close."""
