"""Plain networks of dense layers: one, several side by side, and noisy ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.nets import RELU, Dense, init_glorot_


def stack(width: int, widths: Sequence[int]) -> nn.Sequential:
    """Dense layers of these widths with ReLU; the identity without any. (B, width) -> (B, last)."""
    pairs = pairwise([width, *widths])
    return nn.Sequential(*(Dense(a, b, norm=False, act=True, style=RELU) for a, b in pairs))


Activation = Callable[[torch.Tensor], torch.Tensor]


class Members(nn.Module):
    """E networks of one shape side by side, on the same input or each on its own: dense layers with
    an activation, then a linear one. (B, width) or (E, B, width) -> (E, B, outputs)."""

    def __init__(
        self,
        members: int,
        width: int,
        widths: Sequence[int],
        outputs: int,
        activation: Activation = F.relu,
    ) -> None:
        super().__init__()
        self.members, self._activation = members, activation
        layers = [*pairwise([width, *widths, outputs])]
        self.weights = nn.ParameterList(_weight(members, a, b) for a, b in layers)
        self.biases = nn.ParameterList(torch.zeros(members, 1, b) for _, b in layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width) or (E, B, width) -> (E, B, outputs)."""
        x = x.expand(self.members, *x.shape[-2:])
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, self._activation(x) if k else x, weight)
        return x


def _weight(members: int, inner: int, outer: int) -> torch.Tensor:
    weight = torch.empty(members, inner, outer)
    init_glorot_(weight, inner, outer)
    return weight


class NoisyDense(nn.Module):
    """Linear layer whose weights have learned, factorised noise (Fortunato et al. 2018, "Noisy
    networks for exploration", equations 10 and 11). Without noise it is linear.

    Args:
        inner, outer: widths.
        start: deviation of the noise at first, times the root of `inner`.
    """

    def __init__(self, inner: int, outer: int, start: float = 0.5) -> None:
        super().__init__()
        self.inner, self.noise_width = inner, inner + outer
        bound, spread = 1 / math.sqrt(inner), start / math.sqrt(inner)
        self.weight = nn.Parameter(torch.empty(outer, inner).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outer).uniform_(-bound, bound))
        self.weight_spread = nn.Parameter(torch.full((outer, inner), spread))
        self.bias_spread = nn.Parameter(torch.full((outer,), spread))

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """(B, inner) and standard normal noise (B or 1, inner + outer) -> (B, outer)."""
        scaled = noise.sign() * noise.abs().sqrt()
        before, after = scaled[:, : self.inner], scaled[:, self.inner :]
        noisy = F.linear(x * before, self.weight_spread, self.bias_spread)
        return F.linear(x, self.weight, self.bias) + after * noisy


class PlainDense(nn.Module):
    """Linear layer in the place of a noisy one; needs no noise."""

    noise_width = 0

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.layer = Dense(inner, outer, norm=False, act=False, style=RELU)

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """(B, inner) -> (B, outer)."""
        y: torch.Tensor = self.layer(x)
        return y


class Stream(nn.Module):
    """Hidden layers with ReLU, then a linear one; noisy or not. Noise is (B or 1, noise_width)."""

    def __init__(self, width: int, widths: Sequence[int], outputs: int, noisy: bool) -> None:
        super().__init__()
        kind = NoisyDense if noisy else PlainDense
        self.layers = nn.ModuleList(kind(a, b) for a, b in pairwise([width, *widths, outputs]))
        self.widths = [int(layer.noise_width) for layer in self.layers]  # type: ignore[arg-type]
        self.noise_width = sum(self.widths)

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """(B, width) -> (B, outputs)."""
        for k, (layer, part) in enumerate(
            zip(self.layers, torch.split(noise, self.widths, -1), strict=True)
        ):
            x = layer(F.relu(x) if k else x, part)
        return x
