"""What the robot should be sensing, from what the model remembers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.dists import image_mse
from agents.blocks.nets import MLP, BlockDense, Dense, init_conv_, make_act, make_norm
from agents.blocks.policies import categorical
from agents.blocks.scalars import widen
from agents.world.coding import DREAMER_V3, Coding
from agents.world.mean_picture import coarse_errors
from agents.world.sizes import Size
from agents.world.spaces import Layout, layout
from agents.world.standards import Standards

Tensors = dict[str, torch.Tensor]
_KERNEL = 5  # of stages that double the picture


class Decoder(nn.Module):
    """State -> prediction of every observation key.

    Args:
        observation_space: as the encoder's.
        size: widths.
        coding: the encoder's.
        standards: the encoder's; needed where its coding has any.

    Raises:
        UnsupportedSpace: see `agents.world.spaces.layout`.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        size: Size,
        coding: Coding = DREAMER_V3,
        standards: Standards | None = None,
    ) -> None:
        super().__init__()
        self.layout = layout(observation_space, size, coding)
        self.coding, self.flat = coding, size.flat
        self.standards = standards or Standards(coding)
        images = _Unpadded if coding.convolution == "valid" else _Images
        self.vectors = _Vectors(self.layout, size, coding) if self.layout.widths else None
        self.images = images(self.layout, size, self.standards) if self.layout.images else None

    def forward(self, deter: torch.Tensor, stoch: torch.Tensor) -> Tensors:
        """(..., D), (..., S, K) or (..., S) -> for a vector (..., width) its flat numbers, see
        `numbers`; for a discrete key logits (..., n); for an image (..., H, W, C) its
        pixels, where 0 is black and 1 white."""
        flat = stoch.reshape(*deter.shape[:-1], self.flat)
        parts = [part(deter, flat) for part in (self.vectors, self.images) if part is not None]
        return {key: value for part in parts for key, value in part.items()}

    def loss(self, pred: Mapping[str, torch.Tensor], obs: Mapping[str, torch.Tensor]) -> Tensors:
        """Predictions and raw observations -> loss (...) of each key, summed over its numbers."""
        return {key: self._loss(key, pred[key], obs[key]) for key in pred}

    def numbers(self, key: str, value: torch.Tensor) -> torch.Tensor:
        """A vector (..., *shape) as it is predicted: (..., width)."""
        return self.standards.numbers(key, self.layout.flat(key, value))

    def _loss(self, key: str, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if key in self.layout.classes:
            return -categorical(pred).log_prob(target)
        target = target.to(widen(pred).dtype)
        if key in self.layout.images:
            pixels = self.coding.pixels(target)
            error = image_mse(pred, pixels)
            error = error + coarse_errors(pred, pixels) if self.coding.changes else error
        else:
            numbers = self.numbers(key, target)
            error = (widen(pred) - numbers.detach()).square().sum(-1) * self.coding.vector_scale
        return error / 2 if self.coding.halved else error


def to_image(pred: torch.Tensor) -> torch.Tensor:
    """Predicted pixels from 0 to 1, of any shape, as uint8."""
    return (pred.detach().clamp(0, 1) * 255).round().to(torch.uint8)


class _Vectors(nn.Module):
    def __init__(self, plan: Layout, size: Size, coding: Coding) -> None:
        super().__init__()
        self.mlp = MLP(size.features, size.units, size.layers, coding.dense)
        self.keys = tuple(plan.widths)
        self.outs = nn.ModuleList(
            Dense(
                size.units, n, norm=False, act=False, outscale=coding.outscale, style=coding.dense
            )
            for n in plan.widths.values()
        )

    def forward(self, deter: torch.Tensor, stoch: torch.Tensor) -> Tensors:
        x = self.mlp(torch.cat([stoch, deter], -1))
        return {key: out(x) for key, out in zip(self.keys, self.outs, strict=True)}


class _Images(nn.Module):
    """Deterministic and stochastic state each paint a small picture; their sum is doubled stage by
    stage."""

    def __init__(self, plan: Layout, size: Size, standards: Standards) -> None:
        super().__init__()
        coding = standards.coding
        style = coding.conv
        depths = coding.depths(size, plan.resolution)
        self.channels, self.standards = plan.images, standards
        self.blocks, self.depth = size.blocks, depths[-1]
        self.side = coding.side(plan.resolution, len(depths))
        area = self.side**2 * self.depth
        self.from_deter = BlockDense(size.deter, area, size.blocks)
        self.from_stoch = nn.Sequential(
            Dense(size.flat, 2 * size.units, norm=True, act=True, style=style),
            Dense(2 * size.units, area, norm=False, act=False, style=style),
        )
        self.norm, self.act = make_norm(style, self.depth), make_act(style)
        pairs = zip(depths[::-1], depths[-2::-1], strict=False)
        self.stages = nn.Sequential(*(_Stage(_Grow(a, b, coding), b, coding) for a, b in pairs))
        self.out = _Grow(depths[0], sum(self.channels.values()), coding)

    def forward(self, deter: torch.Tensor, stoch: torch.Tensor) -> Tensors:
        x = self.act(self.norm(self._grid(deter) + self._square(self.from_stoch(stoch))))
        x = self.out(self.stages(x.permute(0, 3, 1, 2)))
        return _pictures(x, deter.shape[:-1], self.channels, self.standards)

    def _grid(self, deter: torch.Tensor) -> torch.Tensor:
        """Each block paints its own channels of the smallest picture: (N, side, side, depth)."""
        blocks = self.from_deter(deter).reshape(
            -1, self.blocks, self.side, self.side, self.depth // self.blocks
        )
        return self._square(blocks.permute(0, 2, 3, 1, 4))

    def _square(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(-1, self.side, self.side, self.depth)


class _Unpadded(nn.Module):
    """The whole state is one pixel, which transposed convolutions of stride 2 make a picture of.

    Their kernels, 5, 5, 6, 6 for 64 x 64, are such that the side comes out right without padding:
    1, 5, 13, 30, 64.
    """

    def __init__(self, plan: Layout, size: Size, standards: Standards) -> None:
        super().__init__()
        coding = standards.coding
        depths = coding.depths(size, plan.resolution)
        self.channels, self.standards = plan.images, standards
        self.width = 4 * depths[-1] if coding.spread else size.features
        self.spread: nn.Module = nn.Identity()
        if coding.spread:
            self.spread = Dense(size.features, self.width, norm=False, act=False, style=coding.conv)
        kernels = [5] * (len(depths) - 2) + [6, 6]
        widths = [self.width, *depths[-2::-1], sum(self.channels.values())]
        *grows, self.out = (
            init_conv_(nn.ConvTranspose2d(a, b, kernel, 2), style=coding.conv)
            for a, b, kernel in zip(widths, widths[1:], kernels, strict=False)
        )
        pairs = zip(grows, depths[-2::-1], strict=True)
        self.stages = nn.Sequential(*(_Stage(grow, depth, coding) for grow, depth in pairs))

    def forward(self, deter: torch.Tensor, stoch: torch.Tensor) -> Tensors:
        x = self.spread(torch.cat([stoch, deter], -1)).reshape(-1, self.width, 1, 1)
        x = self.out(self.stages(x))
        return _pictures(x, deter.shape[:-1], self.channels, self.standards)


def _pictures(
    x: torch.Tensor,
    lead: torch.Size,
    channels: dict[str, int],
    standards: Standards,
) -> Tensors:
    """The last stage's output (N, C, H, W) as pixels (*lead, H, W, c) of each image."""
    x = standards.drawn(x.permute(0, 2, 3, 1))
    pixels = torch.split(x.reshape(*lead, *x.shape[1:]), [*channels.values()], -1)
    return dict(zip(channels, pixels, strict=True))


class _Grow(nn.Module):
    """(N, in, H, W) -> (N, out, 2 H, 2 W)."""

    def __init__(self, channels: int, depth: int, coding: Coding) -> None:
        super().__init__()
        self.strided = coding.convolution == "strided"
        self.conv = init_conv_(nn.Conv2d(channels, depth, _KERNEL), style=coding.conv)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.strided:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            return F.conv2d(x, self.conv.weight, self.conv.bias, padding=_KERNEL // 2)
        # The convolution of a picture whose odd rows and columns are x and whose others are zero.
        kernel = self.conv.weight.flip(2, 3).transpose(0, 1)
        out = F.conv_transpose2d(x, kernel, self.conv.bias, stride=2, padding=1)
        return out[..., :-1, :-1]


class _Stage(nn.Module):
    """(N, in, H, W) -> larger pictures (N, depth, ...), normalised over channels."""

    def __init__(self, grow: nn.Module, depth: int, coding: Coding) -> None:
        super().__init__()
        self.grow = grow
        self.norm, self.act = make_norm(coding.conv, depth), make_act(coding.conv)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.act(self.norm(self.grow(x).permute(0, 2, 3, 1)))
        return y.permute(0, 3, 1, 2)
