"""What the robot senses, as one vector of tokens per row."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.nets import MLP, RMSNorm, init_conv_
from agents.blocks.scalars import symlog
from agents.world.sizes import Size
from agents.world.spaces import Layout, layout

KERNEL = 5


class Encoder(nn.Module):
    """Observations (..., raw) -> tokens (..., E), for any leading axes.

    Vectors are squashed by symlog and pass an MLP; images lie side by side in one stack of
    channels, which is halved stage by stage. The vectors' tokens come first.

    Args:
        observation_space: float32 vectors, Discrete values, square uint8 images of one size.
        size: widths.
        strided: convolve with stride 2 instead of convolving and pooling: a quarter of the work.

    Raises:
        UnsupportedSpace: see `agents.world.spaces.layout`.
    """

    def __init__(
        self, observation_space: spaces.Dict, size: Size, *, strided: bool = False
    ) -> None:
        super().__init__()
        self.layout = layout(observation_space, size)
        self.vectors = _Vectors(self.layout, size) if self.layout.widths else None
        self.images = _Images(self.layout, size, strided) if self.layout.images else None
        parts = [part for part in (self.vectors, self.images) if part is not None]
        self.width = sum(part.width for part in parts)

    def forward(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Raw observations by key -> (..., E)."""
        parts = [part(obs) for part in (self.vectors, self.images) if part is not None]
        return torch.cat(parts, -1)


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


class _Vectors(nn.Module):
    def __init__(self, plan: Layout, size: Size) -> None:
        super().__init__()
        self.plan = plan
        self.width = size.units
        self.mlp = MLP(sum(plan.widths.values()), size.units, size.layers)

    def forward(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        numbers = [self._number(key, obs[key]) for key in self.plan.widths]
        tokens: torch.Tensor = self.mlp(torch.cat(numbers, -1))
        return tokens

    def _number(self, key: str, value: torch.Tensor) -> torch.Tensor:
        dtype = _dtype(self)
        if key in self.plan.classes:
            return F.one_hot(value.long(), self.plan.classes[key]).to(dtype)
        return symlog(self.plan.flat(key, value).to(dtype))


class _Images(nn.Module):
    def __init__(self, plan: Layout, size: Size, strided: bool) -> None:
        super().__init__()
        depths = size.depths(plan.resolution)
        channels = (sum(plan.images.values()), *depths)
        self.keys = tuple(plan.images)
        self.width = depths[-1] * (plan.resolution >> len(depths)) ** 2
        pairs = zip(channels, depths, strict=False)
        self.stages = nn.Sequential(*(_Stage(a, b, strided) for a, b in pairs))

    def forward(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        image = torch.cat([obs[key] for key in self.keys], -1)
        rows = image.reshape(-1, *image.shape[-3:]).to(_dtype(self))
        pixels = (rows / 255 - 0.5).permute(0, 3, 1, 2)
        grid: torch.Tensor = self.stages(pixels)
        return grid.permute(0, 2, 3, 1).reshape(*image.shape[:-3], self.width)


class _Stage(nn.Module):
    """(N, in, H, W) -> (N, out, H / 2, W / 2)."""

    def __init__(self, channels: int, depth: int, strided: bool) -> None:
        super().__init__()
        # At stride 2 the frame is one pixel before and two behind.
        self.frame = (1, 2, 1, 2) if strided else (2, 2, 2, 2)
        self.strided = strided
        self.conv = init_conv_(nn.Conv2d(channels, depth, KERNEL, 2 if strided else 1))
        self.norm = RMSNorm(depth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(F.pad(x, self.frame))
        x = x if self.strided else F.max_pool2d(x, 2)
        return F.silu(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
