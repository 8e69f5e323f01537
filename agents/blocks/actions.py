"""How actions enter the networks, and how they leave them."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.errors import UnsupportedSpace
from robot_client.schema import ActionSpace


class ActionCodec(nn.Module):
    """Between the robot's actions and the networks'.

    Bounded numbers become -1..1, unbounded ones stay as they are, discrete actions are one-hot.

    Raises:
        UnsupportedSpace: neither Discrete nor a float32 Box of one axis with low < high.
    """

    scale: torch.Tensor
    middle: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, space: ActionSpace) -> None:
        super().__init__()
        self.discrete = isinstance(space, spaces.Discrete)
        if isinstance(space, spaces.Discrete):
            self.width = int(space.n)
            return
        if not (isinstance(space, spaces.Box) and space.dtype == np.float32 and space.shape):
            raise UnsupportedSpace("action", "Discrete, or Box of float32", space)
        if len(space.shape) != 1 or not (space.low < space.high).all():
            raise UnsupportedSpace("action", "a Box of one axis, with low < high", space)
        self.width = space.shape[0]
        bounded = np.isfinite(space.low) & np.isfinite(space.high)
        low, high = (np.where(bounded, x, y) for x, y in ((space.low, -1.0), (space.high, 1.0)))
        self._keep("scale", (high - low) / 2)
        self._keep("middle", (high + low) / 2)
        self._keep("low", space.low)
        self._keep("high", space.high)

    def _keep(self, name: str, value: np.ndarray) -> None:
        self.register_buffer(name, torch.as_tensor(value, dtype=torch.float32), persistent=False)

    def encode(self, action: torch.Tensor) -> torch.Tensor:
        """Robot's action (..., A) float, or (...) integer, to (..., A) float."""
        if self.discrete:
            return F.one_hot(action.long(), self.width).to(torch.get_default_dtype())
        return (action - self.middle) / self.scale

    def drive(self, sampled: torch.Tensor) -> torch.Tensor:
        """A policy's sample, (..., A) or (...) indices, in the form that the core takes."""
        return self.encode(sampled) if self.discrete else sampled

    def decode(self, action: torch.Tensor) -> torch.Tensor:
        """Inverse of `encode`: clipped to the space's bounds, or the largest of the (..., A)."""
        if self.discrete:
            return action.argmax(-1)
        return (action * self.scale + self.middle).clamp(self.low, self.high)
