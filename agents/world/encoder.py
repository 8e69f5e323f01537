"""What the robot senses, as one vector of tokens per row."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.nets import MLP, init_conv_, make_act, make_norm
from agents.world.coding import DREAMER_V3, Coding
from agents.world.mean_picture import MeanPicture
from agents.world.sizes import Size
from agents.world.spaces import Layout, layout
from agents.world.standards import Standards
from agents.world.vector_units import VectorUnits

# Kernel, stride, and the frame of zeros: left, right, above, below.
_STAGES = {
    "pooled": (5, 1, (2, 2, 2, 2)),
    "strided": (5, 2, (1, 2, 1, 2)),
    "valid": (4, 2, (0, 0, 0, 0)),
}


class Encoder(nn.Module):
    """Observations (..., raw) -> tokens (..., E), for any leading axes.

    All vectors and one-hot discrete values together pass one MLP; all images lie in one stack of
    channels, which gets smaller stage by stage. The vectors' tokens come first.

    Args:
        observation_space: float32 vectors, Discrete values, square uint8 images of one size.
        size: widths.
        coding: what becomes of vectors and pixels.

    Raises:
        UnsupportedSpace: see `agents.world.spaces.layout`.
    """

    def __init__(
        self, observation_space: spaces.Dict, size: Size, coding: Coding = DREAMER_V3
    ) -> None:
        super().__init__()
        self.layout, self.coding = layout(observation_space, size, coding), coding
        self.vectors = _Vectors(self.layout, size, coding) if self.layout.widths else None
        self.images = _Images(self.layout, size, coding) if self.layout.images else None
        parts = [part for part in (self.vectors, self.images) if part is not None]
        self.width = sum(part.width for part in parts)

    def forward(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Raw observations by key -> (..., E)."""
        parts = [part(obs) for part in (self.vectors, self.images) if part is not None]
        return torch.cat(parts, -1)

    @property
    def standards(self) -> Standards:
        """What observations are measured against."""
        picture = self.images.mean if self.images is not None else None
        units = self.vectors.units if self.vectors is not None else None
        return Standards(self.coding, picture, units)

    def see(self, obs: Mapping[str, torch.Tensor]) -> None:
        """Move the standards by raw observations (B, T, ...), before these are encoded."""
        if self.images is not None and self.images.mean is not None:
            self.images.mean.update(self.images.pixels(obs))
        if self.vectors is not None and self.vectors.units is not None:
            self.vectors.units.update(obs)


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


class _Vectors(nn.Module):
    def __init__(self, plan: Layout, size: Size, coding: Coding) -> None:
        super().__init__()
        self.plan, self.coding, self.keys = plan, coding, tuple(plan.widths)
        self.width = size.units
        self.units = VectorUnits(plan) if coding.own_units else None
        self.mlp = MLP(sum(plan.widths.values()), size.units, size.layers, coding.dense)

    def forward(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        numbers = [self._number(key, obs[key]) for key in self.keys]
        tokens: torch.Tensor = self.mlp(torch.cat(numbers, -1))
        return tokens

    def _number(self, key: str, value: torch.Tensor) -> torch.Tensor:
        dtype = _dtype(self)
        if key in self.plan.classes:
            return F.one_hot(value.long(), self.plan.classes[key]).to(dtype)
        flat = self.plan.flat(key, value).to(dtype)
        return self.units.numbers(key, flat) if self.units else self.coding.numbers(flat)


class _Images(nn.Module):
    def __init__(self, plan: Layout, size: Size, coding: Coding) -> None:
        super().__init__()
        depths = coding.depths(size, plan.resolution)
        channels = (sum(plan.images.values()), *depths)
        self.keys, self.coding = tuple(plan.images), coding
        self.mean = _mean_picture(plan, coding) if coding.changes else None
        self.width = depths[-1] * coding.side(plan.resolution, len(depths)) ** 2
        pairs = zip(channels, depths, strict=False)
        self.stages = nn.Sequential(*(_Stage(a, b, coding) for a, b in pairs))

    def forward(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        pixels = self.pixels(obs)
        away = self.mean.changes(pixels) if self.mean else pixels - self.coding.middle
        grid: torch.Tensor = self.stages(away.flatten(0, -4).permute(0, 3, 1, 2))
        return grid.permute(0, 2, 3, 1).reshape(*pixels.shape[:-3], self.width)

    def pixels(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(..., H, W, C) of 0..1, of all cameras."""
        image = torch.cat([obs[key] for key in self.keys], -1)
        return self.coding.pixels(image.to(_dtype(self)))


def _mean_picture(plan: Layout, coding: Coding) -> MeanPicture:
    return MeanPicture(plan.resolution, sum(plan.images.values()), coding.sigmoid)


class _Stage(nn.Module):
    """(N, in, H, W) -> (N, out, H / 2, W / 2); without padding (N, out, H / 2 - 1, W / 2 - 1)."""

    def __init__(self, channels: int, depth: int, coding: Coding) -> None:
        super().__init__()
        kernel, stride, self.frame = _STAGES[coding.convolution]
        self.pooled = coding.convolution == "pooled"
        self.conv = init_conv_(nn.Conv2d(channels, depth, kernel, stride), style=coding.conv)
        self.norm = make_norm(coding.conv, depth)
        self.act = make_act(coding.conv)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(F.pad(x, self.frame) if any(self.frame) else x)
        x = F.max_pool2d(x, 2) if self.pooled else x
        y: torch.Tensor = self.act(self.norm(x.permute(0, 2, 3, 1)))
        return y.permute(0, 3, 1, 2)
