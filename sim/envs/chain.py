"""A long chain with its reward at the end: how far does value travel?"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from sim.envs.pixels import FLAG, PERSON, Drawn, Picture, mosaic, plain, sprite

COLUMNS = 10  # of the picture


class Chain(Drawn):
    """States in a row: -1 for each step but that to the last state, which pays 100 and is the end.

    STEVE's toy problem (Buckman et al. 2018, section 4.1) when the walker always goes on. The
    observation is the state's number; action 1 goes on, action 0 goes back, from the first nowhere.

    Args:
        states: how many there are, at least 2.
        render_mode: `rgb_array` or None.

    Raises:
        ValueError: there are fewer than two states.
    """

    def __init__(self, states: int = 100, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        if states < 2:
            raise ValueError(f"states: expected at least 2, got {states}")
        self.observation_space = spaces.Discrete(states)
        self.action_space = spaces.Discrete(2)
        self._last, self._state = states - 1, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Go to the first state."""
        super().reset(seed=seed)
        self._state = 0
        return np.int64(0), {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """On or back."""
        self._state = max(self._state + (1 if action else -1), 0)
        arrived = self._state == self._last
        return np.int64(self._state), 100.0 if arrived else -1.0, arrived, False, {}

    def _picture(self) -> Picture:
        """Row by row, like writing."""
        rows = -(-(self._last + 1) // COLUMNS)
        codes = np.zeros(rows * COLUMNS, np.int64)  # 0: no state
        codes[: self._last + 1] = 1
        codes[self._last], codes[self._state] = 2, 3
        floor = plain("f")
        floor[[0, -1]] = plain("m")[0]
        tiles = [plain("m"), floor, sprite(FLAG, floor), sprite(PERSON, floor)]
        return mosaic(codes.reshape(rows, COLUMNS), np.stack(tiles))
