"""How much of a robot's work a person did, row by row as chunks arrive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.schema import Source


@dataclass
class HumanShare:
    """Counts of the rows so far in which somebody acted.

    Args:
        steps: rows with an action.
        human_steps: those that a person chose.
        interventions: how often a person began to; a hold does not end one.
    """

    steps: int = 0
    human_steps: int = 0
    interventions: int = 0
    _human: bool = False  # who chose the newest row that was no hold

    def add(self, sources: NDArray[Any]) -> None:
        """Count further rows, (N,) of `Source`, in order."""
        human = sources[sources != Source.HOLD] == Source.HUMAN
        before = np.concatenate([[self._human], human])
        self.steps += len(sources)
        self.human_steps += int(human.sum())
        self.interventions += int((human & ~before[:-1]).sum())
        self._human = bool(before[-1])
