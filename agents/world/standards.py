"""What observations are measured against, when not as they come."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from agents.world.coding import Coding
from agents.world.mean_picture import MeanPicture
from agents.world.vector_units import VectorUnits


@dataclass(frozen=True)
class Standards:
    """Of an encoder, which owns and moves them, for its decoder.

    Not a module: what is in two modules' state would be kept twice.

    Args:
        coding: how observations enter and leave.
        picture: the mean of the pictures, if they are seen as what differs from it.
        units: of the vectors, if they have units of their own.
    """

    coding: Coding
    picture: MeanPicture | None = None
    units: VectorUnits | None = None

    def numbers(self, key: str, flat: torch.Tensor) -> torch.Tensor:
        """A raw vector (..., width) as the networks see and predict it."""
        return self.units.numbers(key, flat) if self.units else self.coding.numbers(flat)

    def drawn(self, raw: torch.Tensor) -> torch.Tensor:
        """Raw predictions (..., H, W, C) as pixels, where 0 is black and 1 white."""
        return self.picture.drawn(raw) if self.picture else self.coding.drawn(raw)
