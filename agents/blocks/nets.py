"""Layers of the networks: dense and block-diagonal layers with normalisation, and their start.

Everything here runs under bfloat16 autocast, compiles, and exports to ONNX.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

RMS_EPS = 1e-4
# A standard normal cut at two deviations has deviation 0.8796; this makes it 1 again.
TRUNCATION_CORRECTION = 1.1368


def init_fan_in_(weight: torch.Tensor, fan_in: int, outscale: float = 1.0) -> None:
    """Fill with a normal cut at two deviations, of deviation outscale / sqrt(fan_in)."""
    std = outscale * TRUNCATION_CORRECTION * math.sqrt(1 / fan_in)
    if std == 0:
        nn.init.zeros_(weight)
    else:
        nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def init_conv_(conv: nn.Conv2d, outscale: float = 1.0) -> nn.Conv2d:
    """Start a convolution: fan-in is kernel area times input channels, the bias is zero."""
    init_fan_in_(conv.weight, conv.weight[0].numel(), outscale)
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


def _tail(width: int, norm: bool, act: bool) -> nn.Sequential:
    parts: list[nn.Module] = [RMSNorm(width)] if norm else []
    return nn.Sequential(*parts, *([nn.SiLU()] if act else []))


class Dense(nn.Module):
    """Linear layer, then RMSNorm and SiLU where asked for. `weight` is (out, in).

    With `outscale` 0 the layer starts as the constant 0.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        norm: bool,
        act: bool,
        outscale: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.tail = _tail(out_features, norm, act)
        init_fan_in_(self.weight, in_features, outscale)

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

    def __init__(self, in_features: int, units: int, layers: int) -> None:
        widths = [in_features, *[units] * layers]
        super().__init__(*(Dense(a, b, norm=True, act=True) for a, b in pairwise(widths)))
