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
        mean: of the pictures, where only their changes are to enter.

    Raises:
        UnsupportedSpace: see `agents.world.spaces.layout`.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        size: Size,
        coding: Coding = DREAMER_V3,
        mean: MeanPicture | None = None,
    ) -> None:
        super().__init__()
        self.layout = layout(observation_space, size, coding)
        self.vectors = _Vectors(self.layout, size, coding) if self.layout.widths else None
        self.images = _Images(self.layout, size, coding, mean) if self.layout.images else None
        parts = [part for part in (self.vectors, self.images) if part is not None]
        self.width = sum(part.width for part in parts)

    def forward(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Raw observations by key -> (..., E)."""
        parts = [part(obs) for part in (self.vectors, self.images) if part is not None]
        return torch.cat(parts, -1)


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


class _Vectors(nn.Module):
    def __init__(self, plan: Layout, size: Size, coding: Coding) -> None:
        super().__init__()
        self.plan, self.coding, self.keys = plan, coding, tuple(plan.widths)
        self.width = size.units
        self.mlp = MLP(sum(plan.widths.values()), size.units, size.layers, coding.dense)

    def forward(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        numbers = [self._number(key, obs[key]) for key in self.keys]
        tokens: torch.Tensor = self.mlp(torch.cat(numbers, -1))
        return tokens

    def _number(self, key: str, value: torch.Tensor) -> torch.Tensor:
        dtype = _dtype(self)
        if key in self.plan.classes:
            return F.one_hot(value.long(), self.plan.classes[key]).to(dtype)
        return self.coding.numbers(self.plan.flat(key, value).to(dtype))


class _Images(nn.Module):
    def __init__(self, plan: Layout, size: Size, coding: Coding, mean: MeanPicture | None) -> None:
        super().__init__()
        depths = coding.depths(size, plan.resolution)
        channels = (sum(plan.images.values()), *depths)
        self.keys, self.coding, self.mean = tuple(plan.images), coding, mean
        self.width = depths[-1] * coding.side(plan.resolution, len(depths)) ** 2
        pairs = zip(channels, depths, strict=False)
        self.stages = nn.Sequential(*(_Stage(a, b, coding) for a, b in pairs))

    def forward(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        image = torch.cat([obs[key] for key in self.keys], -1)
        rows = image.reshape(-1, *image.shape[-3:]).to(_dtype(self))
        pixels = self.coding.pixels(rows)
        pixels = self.mean.changes(pixels) if self.mean else pixels - self.coding.middle
        grid: torch.Tensor = self.stages(pixels.permute(0, 3, 1, 2))
        return grid.permute(0, 2, 3, 1).reshape(*image.shape[:-3], self.width)


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
