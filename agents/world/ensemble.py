"""Several small models of the next state, whose disagreement says what is yet to be learned."""

from __future__ import annotations

import math

import torch
from torch import nn

from agents.blocks.nets import BlockDense, Dense
from agents.blocks.scalars import widen
from agents.world.rssm import bounded


class Ensemble(nn.Module):
    """Predicts the next stochastic state from features and action, several times over
    (Sekar et al. 2020, "Planning to explore via self-supervised world models").

    The members differ by their start alone. They are one network, block-diagonal behind its first
    layer, so any number of them is a few launches.

    Args:
        feat: F.
        actions: A.
        units: width of the two hidden layers of each member.
        targets: numbers of a flat stochastic state.
        members: how many.
    """

    def __init__(self, feat: int, actions: int, units: int, targets: int, members: int) -> None:
        super().__init__()
        self.members = members
        # A member's fan-in is its own inputs, not those of all: else all would start near 0, alike.
        start = math.sqrt(members)
        self.layers = nn.Sequential(
            Dense(feat + actions, members * units, norm=False, act=False),  # all read the same
            nn.SiLU(),
            BlockDense(members * units, members * units, members, outscale=start),
            nn.SiLU(),
            BlockDense(members * units, members * targets, members, outscale=start),
        )

    def forward(self, feat: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """(..., F), encoded (..., A) -> (..., members, targets)."""
        out: torch.Tensor = widen(self.layers(torch.cat([feat, bounded(action)], -1)))
        return out.reshape(*out.shape[:-1], self.members, -1)

    def loss(self, feat: torch.Tensor, action: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """(...) half the squared error, summed over `target` (..., targets) and the members.

        Neither features nor target get a gradient: the members only watch.
        """
        error = self(feat.detach(), action) - target.detach().unsqueeze(-2)
        loss: torch.Tensor = 0.5 * error.square().sum((-2, -1))
        return loss

    def disagreement(self, feat: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """(...) deviation over the members, averaged over the targets."""
        said = self(feat, action)
        # torch's own variance takes twenty times as long over an axis that is not the last.
        spread: torch.Tensor = (said - said.mean(-2, keepdim=True)).square().mean(-2)
        return (spread + 1e-12).sqrt().mean(-1)  # the root has no slope at 0
