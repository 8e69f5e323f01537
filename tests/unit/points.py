"""The smallest task with goals that are numbers: a point in a square that goes where it is sent."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from robot_client.rewards import Distance, Goals, Within
from robot_client.robot import Reading
from robot_client.schema import Task

STEP = 0.2  # the farthest that it goes at once, along each side; the square's is 2
STEPS = 10
NEAR = 0.15  # of a goal that counts as reached


class Points:
    """Rewards are minus the distance from a goal drawn anew for each episode.

    Args:
        sparse: 0 near the goal and -1 elsewhere, instead.
    """

    control_hz = 20.0

    def __init__(self, sparse: bool = False) -> None:
        place = spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = spaces.Dict(achieved_goal=place, desired_goal=place)
        self.action_space = place
        keys = ("achieved_goal", "desired_goal")
        reward = Within(*keys, NEAR) if sparse else Distance(*keys)
        self.task = Task("point", STEPS, reward=reward, goals=Goals())
        self._sparse = sparse
        self._rng = np.random.default_rng(0)
        self._at = self._goal = np.zeros(2, np.float32)
        self._first = True

    def connect(self) -> None:
        """Nothing to open."""

    def reset(self, seed: int | None = None) -> None:
        """Draw start and goal."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._at, self._goal = self._rng.uniform(-1, 1, (2, 2)).astype(np.float32)
        self._first = True

    def apply(self, action: np.ndarray) -> np.ndarray:
        """Go that way."""
        self._at = np.clip(self._at + STEP * action, -1, 1).astype(np.float32)
        self._first = False
        return action

    def observe(self) -> Reading:
        """Where it is, and where it should be."""
        apart = float(np.linalg.norm(self._at - self._goal))
        obs = {"achieved_goal": self._at.copy(), "desired_goal": self._goal.copy()}
        missed = float(apart > NEAR) if self._sparse else apart
        return Reading(obs, 0.0 if self._first else -missed)

    def stop(self) -> None:
        """It is at rest by itself."""

    def close(self) -> None:
        """Nothing to close."""
