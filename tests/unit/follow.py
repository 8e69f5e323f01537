"""The smallest task whose actions are numbers: do what is shown."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from robot_client.robot import Reading
from robot_client.schema import Task

STEPS = 10
SIDE = 16


class Follow:
    """A number is shown at each step, and the reward is minus what the action is away from it. Who
    does nothing loses 5 in an episode, who acts at random 6.7.

    Args:
        camera: whether it is shown as the brightness of a picture instead.
    """

    control_hz = 20.0
    task = Task("follow", STEPS)

    def __init__(self, camera: bool = False) -> None:
        number = spaces.Box(-1, 1, (1,), np.float32)
        picture = spaces.Box(0, 255, (SIDE, SIDE, 1), np.uint8)
        self.observation_space = spaces.Dict(shown=picture if camera else number)
        self._camera = camera
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)
        self._rng = np.random.default_rng(0)
        self._shown, self._reward = np.zeros(1, np.float32), 0.0

    def connect(self) -> None:
        """Nothing to open."""

    def reset(self, seed: int | None = None) -> None:
        """Show the first number."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._reward = 0.0
        self._show()

    def apply(self, action: np.ndarray) -> np.ndarray:
        """Compare, and show another."""
        self._reward = -float(np.abs(action - self._shown)[0])
        self._show()
        return action

    def observe(self) -> Reading:
        """The number that is shown."""
        shown: np.ndarray = self._shown.copy()
        if self._camera:
            shown = np.full((SIDE, SIDE, 1), 127.5 * (1 + shown[0]), np.uint8)
        return Reading({"shown": shown}, self._reward)

    def stop(self) -> None:
        """It is at rest by itself."""

    def close(self) -> None:
        """Nothing to close."""

    def _show(self) -> None:
        self._shown = self._rng.uniform(-1, 1, 1).astype(np.float32)
