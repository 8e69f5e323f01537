"""What vectors are measured in: each number in its own deviations from its mean.

A robot senses rad, rad/s, N and metres side by side. Taught on squared errors as they come, a model
spends what it may remember on the numbers that are large, such as the rates of a body that is
shaken, and the angles of its joints, on which the reward hangs, are lost in the divergence's price.

(Our own; DayDreamer takes numbers as they come, the third Dreamer their symlog.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from agents.blocks.normalize import Units
from agents.world.spaces import Layout

WEIGHT = 10.0  # of squared errors in deviations: as if a third of a deviation were noise
_LEAST = 1e-2  # deviation below which a number hardly moves: it is not blown up


class VectorUnits(nn.Module):
    """Running means and deviations of every vector.

    Args:
        plan: of the observations.
    """

    def __init__(self, plan: Layout) -> None:
        super().__init__()
        self.plan, self.keys = plan, tuple(plan.shapes)
        self.units = nn.ModuleList(Units(plan.widths[key], limit=_LEAST) for key in self.keys)

    def update(self, obs: Mapping[str, torch.Tensor]) -> None:
        """Take in raw observations (B, T, ...)."""
        for key, units in zip(self.keys, self.units, strict=True):
            assert isinstance(units, Units), key
            units.update(self.plan.flat(key, obs[key]).flatten(0, -2).float())

    def numbers(self, key: str, flat: torch.Tensor) -> torch.Tensor:
        """A raw vector (..., width) in deviations from its mean."""
        units = self.units[self.keys.index(key)]
        assert isinstance(units, Units), key
        return units.normalise(flat)
