"""The smallest task with goals that are numbers: a point in a square that goes where it is sent."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from robot_client.rewards import Distance, Goals
from robot_client.robot import Reading
from robot_client.schema import Task

STEP = 0.2  # the farthest that it goes at once, along each side; the square's is 2
STEPS = 10


class Points:
    """Rewards are minus the distance from a goal drawn anew for each episode."""

    control_hz = 20.0

    def __init__(self) -> None:
        place = spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = spaces.Dict(achieved_goal=place, desired_goal=place)
        self.action_space = place
        between = Distance("achieved_goal", "desired_goal")
        self.task = Task("point", STEPS, reward=between, goals=Goals())
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
        return Reading(obs, 0.0 if self._first else -apart)

    def stop(self) -> None:
        """It is at rest by itself."""

    def close(self) -> None:
        """Nothing to close."""
