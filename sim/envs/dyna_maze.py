"""The mazes on which Dyna was shown: one that stays, and two that change."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from sim.envs.grid import Grid, Square, walls_of


class _Plan(NamedTuple):
    first: str
    then: str
    change: int | None  # after so many steps
    start: Square


_OPEN = ".........\n"
_STILL = ".......#. ..#....#. ..#....#. ..#...... .....#... ........."
_LEFT_SHUT, _RIGHT_SHUT = "########.\n", ".########\n"
_ABOVE, _BELOW = _OPEN * 3, _OPEN * 2

PLANS = {
    "still": _Plan(_STILL, _STILL, None, (2, 0)),
    "blocking": _Plan(_ABOVE + _LEFT_SHUT + _BELOW, _ABOVE + _RIGHT_SHUT + _BELOW, 1000, (5, 3)),
    "shortcut": _Plan(_ABOVE + _RIGHT_SHUT + _BELOW, _ABOVE + ".#######.\n" + _BELOW, 3000, (5, 3)),
}


class DynaMaze(Grid):
    """A maze of 6 x 9 squares; 1 for arriving in the top right corner, 0 otherwise.

    Sutton & Barto, Reinforcement Learning, 2nd edition: `still` is figure 8.2 (example 8.1; the
    shortest way has 14 steps), `blocking` figure 8.4 (after 1000 steps the way through on the right
    shuts and one on the left opens: 10 steps become 16), `shortcut` figure 8.5 (after 3000 steps
    one opens on the right besides that on the left: 16 become 10).

    The steps are counted over all episodes since the last reset with a seed, or since the start.

    Args:
        variant: which maze.
        lasting: a reset with a seed does not bring the first maze back: who seeds every episode
            would never see it change.
        render_mode: `rgb_array` or None.

    Raises:
        ValueError: there is no such variant.
    """

    def __init__(
        self,
        variant: Literal["still", "blocking", "shortcut"] = "still",
        lasting: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if variant not in PLANS:
            raise ValueError(f"variant: expected one of {sorted(PLANS)}, got {variant!r}")
        self._plan, self._steps, self._lasting = PLANS[variant], 0, lasting
        super().__init__(self._plan.first, [self._plan.start], (0, 8), (0.0, 1.0), render_mode)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Go to the start; with a seed, the maze is as it was at first, unless it is `lasting`."""
        if seed is not None and not self._lasting:
            self._steps, self.walls = 0, walls_of(self._plan.first)
        return super().reset(seed=seed, options=options)

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """One move, in the maze as it is before it."""
        result = super().step(action)
        self._steps += 1
        if self._steps == self._plan.change:
            self.walls = walls_of(self._plan.then)
        return result
