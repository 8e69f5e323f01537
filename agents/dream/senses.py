"""What reaches the memory and the controller: the latent picture, and whatever else is sensed."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from agents.agent import Tensors
from agents.blocks.observe import Features
from agents.blocks.scalars import symlog
from agents.dream.vae import Encoder, reparameterised
from agents.errors import UnsupportedSpace


class Seen:
    """Which observations are pictures, and how large these are.

    Pictures must be square and of one size: they go through V as the channels of one. All else, as
    `agents.blocks.observe.Features` takes it, is sensed as it is.

    Raises UnsupportedSpace naming the key at fault, or when there is no picture.
    """

    def __init__(self, space: spaces.Dict) -> None:
        pictures = {k: s.shape or () for k, s in space.spaces.items() if _is_picture(s)}
        if not pictures:
            raise UnsupportedSpace("observation", "a uint8 picture (H, W, C)", space)
        self.pictures = sorted(pictures)
        self.side = pictures[self.pictures[0]][0]
        for key, shape in pictures.items():
            if shape[:2] != (self.side, self.side):
                expected = f"pictures all square and of {self.side} pixels"
                raise UnsupportedSpace(f"observation.{key}", expected, shape)
        self.channels = [pictures[key][2] for key in self.pictures]
        others = {k: s for k, s in space.spaces.items() if k not in pictures}
        self.others = Features(spaces.Dict(others)) if others else None
        self.width = self.others.width if self.others else 0

    def pixels(self, obs: Tensors) -> torch.Tensor:
        """Raw observations (..., H, W, C) by key -> (..., all channels, H, W) in 0..1."""
        stacked = torch.cat([obs[key] for key in self.pictures], -1)
        return stacked.movedim(-1, -3).float() / 255

    def rest(self, obs: Tensors) -> torch.Tensor:
        """(N, width) what is no picture, numbers by their symlog."""
        if self.others is None:
            first = obs[self.pictures[0]]
            return torch.zeros(len(first), 0, device=first.device)
        found: torch.Tensor = symlog(self.others(obs))
        return found


class Senses(nn.Module):
    """Raw observations (N, ...) by key and normal noise (N, Z) -> (N, S): V's code z, drawn as in
    the public code from its distribution, then the rest."""

    def __init__(self, seen: Seen, encoder: Encoder) -> None:
        super().__init__()
        self.seen, self.encoder = seen, encoder

    def forward(self, obs: Tensors, noise: torch.Tensor) -> torch.Tensor:
        """See the class."""
        mean, logvar = self.encoder(self.seen.pixels(obs))
        return torch.cat([reparameterised(mean, logvar, noise), self.seen.rest(obs)], -1)


def _is_picture(part: spaces.Space[np.ndarray]) -> bool:
    return isinstance(part, spaces.Box) and part.dtype == np.uint8 and len(part.shape) == 3
