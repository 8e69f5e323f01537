"""What the robot should be sensing, from what the model remembers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.dists import categorical, image_mse, symlog_mse
from agents.blocks.nets import MLP, BlockDense, Dense, RMSNorm, init_conv_
from agents.blocks.scalars import widen
from agents.world.encoder import KERNEL
from agents.world.sizes import Size
from agents.world.spaces import Layout, layout

Tensors = dict[str, torch.Tensor]


class Decoder(nn.Module):
    """State -> prediction of every observation key.

    Args:
        observation_space: as the encoder's.
        size: widths.
        strided: the counterpart of the encoder's strided stages.

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

    def forward(self, deter: torch.Tensor, stoch: torch.Tensor) -> Tensors:
        """(..., D), (..., S, K) -> for a vector its flat symlog (..., width), for a discrete key
        logits (..., n), for an image its pixels from 0 to 1 (..., H, W, C)."""
        flat = stoch.flatten(-2)
        parts = [part(deter, flat) for part in (self.vectors, self.images) if part is not None]
        return {key: value for part in parts for key, value in part.items()}

    def loss(self, pred: Mapping[str, torch.Tensor], obs: Mapping[str, torch.Tensor]) -> Tensors:
        """Predictions and raw observations -> loss (...) of each key, summed over its numbers."""
        return {key: self._loss(key, pred[key], obs[key]) for key in pred}

    def _loss(self, key: str, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if key in self.layout.classes:
            return -categorical(pred).log_prob(target)
        target = target.to(widen(pred).dtype)
        if key in self.layout.images:
            return image_mse(pred, target / 255)
        return symlog_mse(pred, self.layout.flat(key, target))


def to_image(pred: torch.Tensor) -> torch.Tensor:
    """Predicted pixels from 0 to 1, of any shape, as uint8."""
    return (pred.detach().clamp(0, 1) * 255).round().to(torch.uint8)


class _Vectors(nn.Module):
    def __init__(self, plan: Layout, size: Size) -> None:
        super().__init__()
        self.mlp = MLP(size.features, size.units, size.layers)
        self.keys = tuple(plan.widths)
        widths = plan.widths.values()
        self.outs = nn.ModuleList(Dense(size.units, n, norm=False, act=False) for n in widths)

    def forward(self, deter: torch.Tensor, stoch: torch.Tensor) -> Tensors:
        x = self.mlp(torch.cat([stoch, deter], -1))
        return {key: out(x) for key, out in zip(self.keys, self.outs, strict=True)}


class _Images(nn.Module):
    def __init__(self, plan: Layout, size: Size, strided: bool) -> None:
        super().__init__()
        depths = size.depths(plan.resolution)
        self.channels = dict(plan.images)
        self.blocks, self.depth = size.blocks, depths[-1]
        self.side = plan.resolution >> len(depths)
        area = self.side**2 * self.depth
        self.from_deter = BlockDense(size.deter, area, size.blocks)
        self.from_stoch = nn.Sequential(
            Dense(size.stoch * size.classes, 2 * size.units, norm=True, act=True),
            Dense(2 * size.units, area, norm=False, act=False),
        )
        self.norm = RMSNorm(self.depth)
        pairs = zip(depths[::-1], depths[-2::-1], strict=False)
        self.stages = nn.Sequential(*(_Stage(a, b, strided) for a, b in pairs))
        self.out = _Grow(depths[0], sum(self.channels.values()), strided)

    def forward(self, deter: torch.Tensor, stoch: torch.Tensor) -> Tensors:
        x = F.silu(self.norm(self._grid(deter) + self._square(self.from_stoch(stoch))))
        x = self.out(self.stages(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1).sigmoid()
        pixels = x.reshape(*deter.shape[:-1], *x.shape[1:]).split([*self.channels.values()], -1)
        return dict(zip(self.channels, pixels, strict=True))

    def _grid(self, deter: torch.Tensor) -> torch.Tensor:
        """Each block paints its own channels of the smallest picture: (N, side, side, depth)."""
        blocks = self.from_deter(deter).reshape(
            -1, self.blocks, self.side, self.side, self.depth // self.blocks
        )
        return self._square(blocks.permute(0, 2, 3, 1, 4))

    def _square(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(-1, self.side, self.side, self.depth)


class _Grow(nn.Module):
    """(N, in, H, W) -> (N, out, 2 H, 2 W)."""

    def __init__(self, channels: int, depth: int, strided: bool) -> None:
        super().__init__()
        self.strided = strided
        self.conv = init_conv_(nn.Conv2d(channels, depth, KERNEL))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.strided:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            return F.conv2d(x, self.conv.weight, self.conv.bias, padding=KERNEL // 2)
        # The convolution of a picture whose odd rows and columns are x and whose others are zero.
        kernel = self.conv.weight.flip(2, 3).transpose(0, 1)
        out = F.conv_transpose2d(x, kernel, self.conv.bias, stride=2, padding=1)
        return out[..., :-1, :-1]


class _Stage(nn.Module):
    """(N, in, H, W) -> (N, out, 2 H, 2 W), normalised over channels."""

    def __init__(self, channels: int, depth: int, strided: bool) -> None:
        super().__init__()
        self.grow = _Grow(channels, depth, strided)
        self.norm = RMSNorm(depth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.silu(self.norm(self.grow(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
