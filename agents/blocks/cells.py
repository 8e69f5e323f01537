"""Observations as the number of a cell, for agents that learn tables."""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from agents.agent import Tensors
from agents.errors import UnsupportedSpace

MAX_CELLS = 2**20


class Cells(nn.Module):
    """Observations by key (B, ...) -> (B,) int64 in 0..n: choices count by themselves, each number
    of a vector is cut into equal bins between its bounds. There is nothing to learn.

    Args:
        space: Discrete and float32 Box.
        bins: of each number.
        limit: bound of numbers that have none of their own.

    Raises:
        UnsupportedSpace: an observation of another kind, or more than MAX_CELLS cells.
    """

    def __init__(self, space: spaces.Dict, bins: int, limit: float) -> None:
        super().__init__()
        self.bins = bins
        self.keys = sorted(space.spaces)
        self.sizes = [_size(key, space.spaces[key], bins) for key in self.keys]
        self.n = math.prod(self.sizes)
        if self.n > MAX_CELLS:
            raise UnsupportedSpace("observation", f"at most {MAX_CELLS} cells", f"{self.n} of them")
        for key in self.keys:
            part = space.spaces[key]
            if isinstance(part, spaces.Box):
                self._keep(key, part, limit)

    def _keep(self, key: str, part: spaces.Box, limit: float) -> None:
        low = np.where(np.isfinite(part.low), part.low, -limit).ravel()
        high = np.where(np.isfinite(part.high), part.high, limit).ravel()
        scale = self.bins / np.maximum(high - low, 1e-6)
        self.register_buffer(f"low_{_safe(key)}", _floats(low), persistent=False)
        self.register_buffer(f"scale_{_safe(key)}", _floats(scale), persistent=False)
        strides = torch.tensor([self.bins**k for k in range(len(low))])
        self.register_buffer(f"strides_{_safe(key)}", strides, persistent=False)

    def forward(self, obs: Tensors) -> torch.Tensor:
        """Raw observations by key, and perhaps others -> (B,)."""
        strides = accumulate(self.sizes, lambda a, b: a * b, initial=1)
        parts = [self._part(k, obs[k]) * s for k, s in zip(self.keys, strides, strict=False)]
        return torch.stack(parts).sum(0)

    def _part(self, key: str, value: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, f"low_{_safe(key)}"):
            return value.long()
        low, scale, strides = (
            getattr(self, f"{name}_{_safe(key)}") for name in ("low", "scale", "strides")
        )
        index = ((value.flatten(1) - low) * scale).long().clamp(0, self.bins - 1)
        found: torch.Tensor = (index * strides).sum(-1)
        return found


def _size(key: str, part: spaces.Space[np.ndarray], bins: int) -> int:
    if isinstance(part, spaces.Discrete):
        return int(part.n)
    if isinstance(part, spaces.Box) and part.dtype == np.float32:
        return int(bins ** math.prod(part.shape))
    raise UnsupportedSpace(f"observation.{key}", "Discrete, or a vector of float32", part)


def _floats(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values).float()


def _safe(key: str) -> str:
    return key.replace(".", "_")
