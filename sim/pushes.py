"""Pushes: somebody with a pole, as DayDreamer's A1 had to learn to withstand. Off by default."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PUSH_S = 0.2  # how long one lasts
PAUSE_S = 5.0  # mean time from the end of one to the next, exponentially distributed


class Pusher:
    """Horizontal forces of equal strength in random directions at random times.

    Args:
        newtons: strength of each; 0: none ever comes.
        control_hz: how often `force` is asked for.
    """

    def __init__(self, newtons: float, control_hz: float) -> None:
        self._newtons, self._steps = newtons, round(PUSH_S * control_hz)
        self._chance = 1 / (PAUSE_S * control_hz)
        self.reset()

    def reset(self) -> None:
        """Nobody pushes."""
        self._left, self._force = 0, np.zeros(3)

    def force(self, rng: np.random.Generator) -> NDArray[np.float64] | None:
        """(3,) force of the next control step in newtons, or None."""
        if not self._newtons:
            return None
        if not self._left and rng.random() < self._chance:
            angle = rng.uniform(-np.pi, np.pi)
            self._left = self._steps
            self._force = self._newtons * np.array([np.cos(angle), np.sin(angle), 0.0])
        if not self._left:
            return None
        self._left -= 1
        return self._force
