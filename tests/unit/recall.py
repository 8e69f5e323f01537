"""The smallest task that needs memory: a cue is seen once, and must be named at the end."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from robot_client.robot import Reading
from robot_client.schema import Task

CUES = 3
STEPS = 4  # actions of an episode; the last one is the answer, and earns 1 if it is right


class Recall:
    """Who remembers nothing is right a third of the time."""

    control_hz = 20.0
    task = Task("recall", STEPS)

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(seen=spaces.Box(0, 1, (CUES + 1,), np.float32))
        self.action_space = spaces.Discrete(CUES)
        self._rng = np.random.default_rng(0)
        self._cue = self._time = 0
        self._earned = 0.0

    def connect(self) -> None:
        """Nothing to open."""

    def reset(self, seed: int | None = None) -> None:
        """Draw a cue."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._cue, self._time, self._earned = int(self._rng.integers(CUES)), 0, 0.0

    def apply(self, action: int) -> int:
        """Answer, if it is time."""
        self._time += 1
        self._earned = float(self._time == STEPS and action == self._cue)
        return action

    def observe(self) -> Reading:
        """The cue at first; then nothing, until the answer is asked for."""
        seen = np.zeros(CUES + 1, np.float32)
        if self._time == 0:
            seen[self._cue] = 1
        seen[CUES] = self._time == STEPS - 1
        return Reading({"seen": seen}, self._earned, terminated=self._time == STEPS)

    def stop(self) -> None:
        """It is at rest by itself."""

    def close(self) -> None:
        """Nothing to close."""
