"""Layers of the networks: dense and block-diagonal layers with normalisation, and their start.

Everything here runs under bfloat16 autocast, compiles, and exports to ONNX.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

RMS_EPS = 1e-4
LAYER_EPS = 1e-3
# A standard normal cut at two deviations has deviation 0.8796; this makes it 1 again.
TRUNCATION_CORRECTION = 1.1368


@dataclass(frozen=True)
class Style:
    """What a generation of networks makes its layers of.

    Args:
        norm: what a layer with a norm is normalised by; "none": such layers have no norm.
        act: the activation.
        start: how weights are drawn, see `init_fan_in_` and `init_glorot_`.
        lean: dense layers that a norm follows have no bias.
    """

    norm: Literal["rms", "layer", "none"]
    act: Literal["silu", "elu", "relu"]
    start: Literal["fan-in", "glorot"]
    lean: bool = False


MODERN = Style("rms", "silu", "fan-in")  # Dreamer V3
RELU = Style("none", "relu", "glorot")  # PlaNet, and Dreamer V1's convolutions
ELU = Style("none", "elu", "glorot")  # Dreamer V1 and V2
NORMED_ELU = Style("layer", "elu", "glorot", lean=True)  # DayDreamer


def init_fan_in_(weight: torch.Tensor, fan_in: int, outscale: float = 1.0) -> None:
    """Fill with a normal cut at two deviations, of deviation outscale / sqrt(fan_in)."""
    std = outscale * TRUNCATION_CORRECTION * math.sqrt(1 / fan_in)
    if std == 0:
        nn.init.zeros_(weight)
    else:
        nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def init_glorot_(weight: torch.Tensor, fan_in: int, fan_out: int, outscale: float = 1.0) -> None:
    """Fill uniformly within +-sqrt(6 outscale / (fan_in + fan_out)) (Glorot and Bengio, 2010).

    DayDreamer writes the same limit as sqrt(3 outscale / mean of the fans).
    """
    limit = math.sqrt(6 * outscale / (fan_in + fan_out))
    nn.init.uniform_(weight, -limit, limit)


def _start_(weight: torch.Tensor, fan_in: int, fan_out: int, outscale: float, style: Style) -> None:
    if style.start == "glorot":
        init_glorot_(weight, fan_in, fan_out, outscale)
    else:
        init_fan_in_(weight, fan_in, outscale)


Conv = TypeVar("Conv", nn.Conv2d, nn.ConvTranspose2d)


def init_conv_(conv: Conv, outscale: float = 1.0, style: Style = MODERN) -> Conv:
    """Start a convolution: fans are kernel area times channels, the bias is zero."""
    area = math.prod(conv.kernel_size)
    _start_(conv.weight, area * conv.in_channels, area * conv.out_channels, outscale, style)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class RMSNorm(nn.Module):
    """Divide the last axis (`width`) by its root mean square and multiply by a learned scale.

    Computed in at least float32 whatever autocast says; the result has the input's type.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., width) -> (..., width)."""
        wide = x.to(self.scale.dtype)
        return F.rms_norm(wide, self.scale.shape, self.scale, RMS_EPS).to(x.dtype)


class LayerNorm(nn.Module):
    """Give the last axis (`width`) mean 0 and variance 1, then a learned scale and offset.

    Computed in at least float32 whatever autocast says; the result has the input's type.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.offset = nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., width) -> (..., width)."""
        wide = x.to(self.scale.dtype)
        return F.layer_norm(wide, self.scale.shape, self.scale, self.offset, LAYER_EPS).to(x.dtype)


def make_norm(style: Style, width: int) -> nn.Module:
    """The style's norm over the last axis; the identity where it has none."""
    if style.norm == "none":
        return nn.Identity()
    return RMSNorm(width) if style.norm == "rms" else LayerNorm(width)


def make_act(style: Style) -> nn.Module:
    """The style's activation."""
    kinds: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "elu": nn.ELU, "relu": nn.ReLU}
    return kinds[style.act]()


def _tail(width: int, norm: bool, act: bool, style: Style = MODERN) -> nn.Sequential:
    norms = [make_norm(style, width)] if norm and style.norm != "none" else []
    return nn.Sequential(*norms, *([make_act(style)] if act else []))


class Dense(nn.Module):
    """Linear layer, then norm and activation of the style where asked for. `weight` is (out, in).

    With `outscale` 0 the layer starts as the constant 0. `bias` is None where the style is lean
    and a norm follows.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        norm: bool,
        act: bool,
        outscale: float = 1.0,
        style: Style = MODERN,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        bare = style.lean and norm and style.norm != "none"
        self.bias = None if bare else nn.Parameter(torch.zeros(out_features))
        self.tail = _tail(out_features, norm, act, style)
        _start_(self.weight, in_features, out_features, outscale, style)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out)."""
        y: torch.Tensor = self.tail(F.linear(x, self.weight, self.bias))
        return y


class BlockDense(nn.Module):
    """Block-diagonal linear layer, then RMSNorm over all outputs and SiLU where asked for.

    The input is `blocks` groups of in / blocks numbers, one after the other; so is the output.
    `weight` is (blocks, in / blocks, out / blocks). Its start counts the whole input as fan-in.

    Raises:
        ValueError: a width is no multiple of `blocks`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        blocks: int,
        *,
        norm: bool = False,
        act: bool = False,
        outscale: float = 1.0,
    ) -> None:
        super().__init__()
        if in_features % blocks or out_features % blocks:
            raise ValueError(f"{in_features} -> {out_features} is not divisible by {blocks} blocks")
        self.blocks = blocks
        shape = (blocks, in_features // blocks, out_features // blocks)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.tail = _tail(out_features, norm, act)
        init_fan_in_(self.weight, in_features, outscale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out)."""
        blocks, inner, outer = self.weight.shape
        rows = x.reshape(-1, blocks, inner).transpose(0, 1)
        bias = self.bias.reshape(blocks, 1, outer)
        out = torch.baddbmm(bias, rows, self.weight).transpose(0, 1)
        y: torch.Tensor = self.tail(out.reshape(*x.shape[:-1], blocks * outer))
        return y


class MLP(nn.Sequential):
    """`layers` dense layers of `units` each, with norm and activation. (..., in) -> (..., units).

    Without layers it is the identity.
    """

    def __init__(self, in_features: int, units: int, layers: int, style: Style = MODERN) -> None:
        widths = pairwise([in_features, *[units] * layers])
        super().__init__(*(Dense(a, b, norm=True, act=True, style=style) for a, b in widths))
