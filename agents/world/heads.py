"""What is predicted from the features (..., F), and the policy. Each head yields a distribution."""

from __future__ import annotations

import torch
from gymnasium import spaces
from torch import nn

from agents.blocks.dists import Bernoulli, Categorical, Normal, bounded_normal, categorical
from agents.blocks.nets import MLP, Dense
from agents.blocks.scalars import SymexpTwohot, TwoHot
from agents.world.spaces import ActionCodec
from robot_client.schema import ActionSpace

BINS = 255
POLICY_OUTSCALE = 0.01  # of a policy's last layer, so that it starts almost undecided


class TwoHotHead(nn.Module):
    """Features -> `TwoHot` over any real number. Starts as the constant 0."""

    def __init__(self, feat: int, units: int, layers: int) -> None:
        super().__init__()
        self.mlp = MLP(feat, units, layers)
        self.out = Dense(units, BINS, norm=False, act=False, outscale=0.0)
        self.dist = SymexpTwohot(BINS)

    def forward(self, features: torch.Tensor) -> TwoHot:
        """(..., F) -> distribution of a number (...)."""
        dist: TwoHot = self.dist(self.out(self.mlp(features)))
        return dist


class BernoulliHead(nn.Module):
    """Features -> `Bernoulli`."""

    def __init__(self, feat: int, units: int, layers: int) -> None:
        super().__init__()
        self.mlp = MLP(feat, units, layers)
        self.out = Dense(units, 1, norm=False, act=False)

    def forward(self, features: torch.Tensor) -> Bernoulli:
        """(..., F) -> distribution of yes or no (...)."""
        return Bernoulli(self.out(self.mlp(features)).squeeze(-1))


class NormalPolicy(nn.Module):
    """Features -> `Normal` over the network's actions; its mean lies within -1..1."""

    def __init__(self, feat: int, units: int, layers: int, actions: int) -> None:
        super().__init__()
        self.mlp = MLP(feat, units, layers)
        self.mean = Dense(units, actions, norm=False, act=False, outscale=POLICY_OUTSCALE)
        self.std = Dense(units, actions, norm=False, act=False, outscale=POLICY_OUTSCALE)

    def forward(self, features: torch.Tensor) -> Normal:
        """(..., F) -> distribution of actions (..., A)."""
        x = self.mlp(features)
        return bounded_normal(self.mean(x), self.std(x))


class CategoricalPolicy(nn.Module):
    """Features -> `Categorical` over discrete actions."""

    def __init__(self, feat: int, units: int, layers: int, actions: int) -> None:
        super().__init__()
        self.mlp = MLP(feat, units, layers)
        self.out = Dense(units, actions, norm=False, act=False, outscale=POLICY_OUTSCALE)

    def forward(self, features: torch.Tensor) -> Categorical:
        """(..., F) -> distribution of action indices (...)."""
        return categorical(self.out(self.mlp(features)))


def reward_head(feat: int, units: int) -> TwoHotHead:
    """The reward that arrives with a row."""
    return TwoHotHead(feat, units, 1)


def continue_head(feat: int, units: int) -> BernoulliHead:
    """Whether the task goes on after a row."""
    return BernoulliHead(feat, units, 1)


def value_head(feat: int, units: int) -> TwoHotHead:
    """The discounted return after a row."""
    return TwoHotHead(feat, units, 3)


def policy_head(
    feat: int, units: int, action_space: ActionSpace
) -> NormalPolicy | CategoricalPolicy:
    """The policy; raises UnsupportedSpace as `ActionCodec` does."""
    width = ActionCodec(action_space).width
    discrete = isinstance(action_space, spaces.Discrete)
    return (CategoricalPolicy if discrete else NormalPolicy)(feat, units, 3, width)
