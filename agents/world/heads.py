"""What is predicted from the features (..., F), and the policy. Each head yields a distribution."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from gymnasium import spaces
from torch import nn

from agents.blocks.actions import ActionCodec
from agents.blocks.control import EntropyTarget
from agents.blocks.dists import Bernoulli
from agents.blocks.nets import MLP, MODERN, Dense, Style
from agents.blocks.policies import (
    MIN_STD,
    Categorical,
    Normal,
    TanhNormal,
    TruncatedNormal,
    bounded_normal,
    categorical,
    normal_entropy,
    tanh_normal,
    truncated_normal,
)
from agents.blocks.scalars import Scalar, SymexpTwohot, SymlogNumber, UnitNormal, widen
from robot_client.schema import ActionSpace

BINS = 255
POLICY_OUTSCALE = 0.01  # of a policy's last layer, so that it starts almost undecided

ScalarKind = Literal["normal", "symlog-mse", "twohot"]
PolicyKind = Literal["tanh-normal", "truncated-normal", "normal", "bounded-normal"]

_Moves = Normal | TanhNormal | TruncatedNormal
_MOVES: dict[PolicyKind, Callable[[torch.Tensor, torch.Tensor], _Moves]] = {
    "tanh-normal": tanh_normal,
    "truncated-normal": truncated_normal,
    "normal": partial(bounded_normal, shift=0.0),
    "bounded-normal": bounded_normal,
}


def _readout(kind: ScalarKind) -> Callable[[torch.Tensor], Scalar]:
    """What turns raw outputs (..., BINS), or (..., 1) but for two-hot, into a distribution."""
    if kind == "twohot":
        return SymexpTwohot(BINS)
    number = UnitNormal if kind == "normal" else SymlogNumber
    return lambda raw: number(widen(raw.squeeze(-1)))


class ScalarHead(nn.Module):
    """Features -> distribution of any real number.

    With `outscale` 0 it starts as the constant 0.
    """

    def __init__(
        self,
        kind: ScalarKind,
        feat: int,
        units: int,
        layers: int,
        style: Style = MODERN,
        outscale: float = 1.0,
    ) -> None:
        super().__init__()
        self.mlp = MLP(feat, units, layers, style)
        width = BINS if kind == "twohot" else 1
        self.out = Dense(units, width, norm=False, act=False, outscale=outscale, style=style)
        self.dist = _readout(kind)

    def forward(self, features: torch.Tensor) -> Scalar:
        """(..., F) -> distribution of a number (...)."""
        return self.dist(self.out(self.mlp(features)))


class BernoulliHead(nn.Module):
    """Features -> `Bernoulli`."""

    def __init__(
        self, feat: int, units: int, layers: int, style: Style = MODERN, outscale: float = 1.0
    ) -> None:
        super().__init__()
        self.mlp = MLP(feat, units, layers, style)
        self.out = Dense(units, 1, norm=False, act=False, outscale=outscale, style=style)

    def forward(self, features: torch.Tensor) -> Bernoulli:
        """(..., F) -> distribution of yes or no (...)."""
        return Bernoulli(self.out(self.mlp(features)).squeeze(-1))


class NormalPolicy(nn.Module):
    """Features -> distribution over the network's actions, made of normals; its mode lies within
    -1..1."""

    def __init__(
        self,
        feat: int,
        units: int,
        layers: int,
        actions: int,
        kind: PolicyKind = "bounded-normal",
        style: Style = MODERN,
        outscale: float = POLICY_OUTSCALE,
    ) -> None:
        super().__init__()
        self.mlp = MLP(feat, units, layers, style)
        self.mean = Dense(units, actions, norm=False, act=False, outscale=outscale, style=style)
        self.std = Dense(units, actions, norm=False, act=False, outscale=outscale, style=style)
        self.dist = _MOVES[kind]

    def forward(self, features: torch.Tensor) -> _Moves:
        """(..., F) -> distribution of actions (..., A)."""
        x = self.mlp(features)
        return self.dist(self.mean(x), self.std(x))


class CategoricalPolicy(nn.Module):
    """Features -> `Categorical` over discrete actions."""

    def __init__(
        self,
        feat: int,
        units: int,
        layers: int,
        actions: int,
        unimix: float = 0.0,
        style: Style = MODERN,
        outscale: float = POLICY_OUTSCALE,
    ) -> None:
        super().__init__()
        self.unimix = unimix
        self.mlp = MLP(feat, units, layers, style)
        self.out = Dense(units, actions, norm=False, act=False, outscale=outscale, style=style)

    def forward(self, features: torch.Tensor) -> Categorical:
        """(..., F) -> distribution of action indices (...)."""
        return categorical(self.out(self.mlp(features)), self.unimix)


def policy_head(
    feat: int,
    units: int,
    action_space: ActionSpace,
    *,
    kind: PolicyKind = "bounded-normal",
    unimix: float = 0.0,
    layers: int = 3,
    style: Style = MODERN,
    outscale: float = POLICY_OUTSCALE,
) -> NormalPolicy | CategoricalPolicy:
    """The policy: of `kind` for Box actions, mixed with `unimix` of uniform for Discrete ones.

    Raises UnsupportedSpace as `ActionCodec` does.
    """
    width = ActionCodec(action_space).width
    if isinstance(action_space, spaces.Discrete):
        return CategoricalPolicy(feat, units, layers, width, unimix, style, outscale)
    return NormalPolicy(feat, units, layers, width, kind, style, outscale)


def entropy_target(action_space: ActionSpace, target: float) -> EntropyTarget:
    """Keeps a "normal" or "bounded-normal" policy, or a choice, at this share of its entropy."""
    width = ActionCodec(action_space).width
    if isinstance(action_space, spaces.Discrete):
        return EntropyTarget(1, 0.0, math.log(width), target)
    return EntropyTarget(width, normal_entropy(MIN_STD), normal_entropy(1.0), target)
