"""What an agent without a world model sees: its observations as one row of numbers."""

from __future__ import annotations

import math

import numpy as np
import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.agent import Tensors
from agents.blocks.nets import RELU, init_conv_
from agents.errors import UnsupportedSpace

# Channels, kernel, stride and frame of each convolution.
NATURE = ((32, 8, 4, 0), (64, 4, 2, 0), (64, 3, 1, 0))  # Mnih et al. 2015, for 84 x 84
SMALL = ((32, 3, 2, 1), (64, 3, 2, 1), (64, 3, 1, 1))
_NATURE_SIDE = 36  # the smallest that the three convolutions leave something of


class Features(nn.Module):
    """Observations by key (B, ...) -> (B, width): vectors as they are, choices one-hot, images
    through convolutions of their own. Only those have parameters.

    Raises UnsupportedSpace naming the key at fault.
    """

    def __init__(self, space: spaces.Dict) -> None:
        super().__init__()
        self.keys = sorted(space.spaces)
        self.eyes = nn.ModuleDict()
        self.classes: dict[str, int] = {}
        self.width = sum(self._add(key, space.spaces[key]) for key in self.keys)

    def _add(self, key: str, part: spaces.Space[np.ndarray]) -> int:
        if isinstance(part, spaces.Discrete):
            self.classes[key] = int(part.n)
            return int(part.n)
        if isinstance(part, spaces.Box) and part.dtype == np.float32:
            return math.prod(part.shape)
        if isinstance(part, spaces.Box) and part.dtype == np.uint8 and len(part.shape) == 3:
            eye = Eye(*part.shape)
            self.eyes[_safe(key)] = eye
            return eye.width
        raise UnsupportedSpace(
            f"observation.{key}", "float32, Discrete, or a uint8 image (H, W, C)", part
        )

    def forward(self, obs: Tensors) -> torch.Tensor:
        """Raw observations by key, and perhaps others -> (B, width)."""
        return torch.cat([self._part(key, obs[key]) for key in self.keys], -1)

    def _part(self, key: str, value: torch.Tensor) -> torch.Tensor:
        if key in self.classes:
            return F.one_hot(value.long(), self.classes[key]).float()
        if _safe(key) in self.eyes:
            seen: torch.Tensor = self.eyes[_safe(key)](value)
            return seen
        return value.reshape(len(value), -1)  # a single number, of shape (), too


class Vectors(nn.Module):
    """Observations that are vectors, as one row of numbers and back. `Features` has the same order.

    Raises UnsupportedSpace naming the key at fault: a model predicts numbers, not images.
    """

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, space: spaces.Dict) -> None:
        super().__init__()
        self.shapes: dict[str, tuple[int, ...]] = {}
        bounds: list[tuple[np.ndarray, np.ndarray]] = []
        for key in sorted(space.spaces):
            part = space.spaces[key]
            if not isinstance(part, spaces.Box) or part.dtype != np.float32:
                raise UnsupportedSpace(f"observation.{key}", "a Box of float32", part)
            self.shapes[key] = part.shape
            bounds.append((part.low.ravel(), part.high.ravel()))
        for name, values in zip(("low", "high"), zip(*bounds, strict=True), strict=True):
            self.register_buffer(name, torch.from_numpy(np.concatenate(values)), persistent=False)
        self._widths = [math.prod(shape) for shape in self.shapes.values()]
        self.width = sum(self._widths)

    def forward(self, obs: Tensors) -> torch.Tensor:
        """Observations (..., *shape) by key, and perhaps others -> (..., width)."""
        axes = [(obs[key], len(shape)) for key, shape in self.shapes.items()]
        rows = [v.flatten(v.ndim - n) if n else v[..., None] for v, n in axes]
        return torch.cat(rows, -1)

    def split(self, x: torch.Tensor) -> Tensors:
        """(..., width) -> (..., *shape) by key."""
        parts = zip(self.shapes.items(), torch.split(x, self._widths, -1), strict=True)
        return {key: v.reshape(*x.shape[:-1], *shape) for (key, shape), v in parts}

    def within(self, x: torch.Tensor) -> torch.Tensor:
        """(..., width) with every number in the bounds of its space."""
        return x.clamp(self.low, self.high)


class Eye(nn.Module):
    """uint8 images (B, H, W, C) -> (B, width), through three convolutions.

    They are those of DQN's paper for sides from 36 pixels, and smaller ones for less.
    """

    def __init__(self, height: int, width: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        side = [height, width]
        plan = NATURE if min(side) >= _NATURE_SIDE else SMALL
        for depth, kernel, stride, frame in plan:
            conv = nn.Conv2d(channels, depth, kernel, stride, frame)
            layers += [init_conv_(conv, style=RELU), nn.ReLU()]
            side = [(n + 2 * frame - kernel) // stride + 1 for n in side]
            channels = depth
        self.layers = nn.Sequential(*layers)
        self.width = channels * math.prod(side)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Raw pixels -> (B, width)."""
        grid: torch.Tensor = self.layers(image.permute(0, 3, 1, 2).float() / 255)
        return grid.flatten(1)


def part(batch: Tensors, prefix: str) -> Tensors:
    """The entries of a batch or of a graph's inputs whose names start so, without the prefix."""
    return {k.removeprefix(prefix): t for k, t in batch.items() if k.startswith(prefix)}


def _safe(key: str) -> str:
    return "image_" + key.replace(".", "_")  # a module's name has no dots, and must not be a method
