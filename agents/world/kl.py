"""What the divergence between posterior and prior costs, one strategy per generation.

Each takes the two distributions of the rows (B, T) and returns losses that are weighted already:
the caller adds up their means. A strategy that adapts is told, by `update`, what it cost.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from agents.blocks.control import Controller
from agents.blocks.dists import L, free_bits, kl


class Divergence(NamedTuple):
    """Weighted losses by name, each (B, T), or () where the floor is one of the mean.

    `value` is the plain KL(posterior || prior) (B, T) in nats, without gradient.
    """

    losses: dict[str, torch.Tensor]
    value: torch.Tensor


class DivergenceLoss(nn.Module):
    """A strategy: `forward` yields the losses, `update` adapts where there is something to."""

    def forward(self, posterior: L, prior: L) -> Divergence:
        """Distributions of (B, T) states -> their cost."""
        raise NotImplementedError

    def update(self, value: torch.Tensor) -> None:
        """Take in the divergence of a batch, in nats, of any shape."""


class FreeNatsPerStep(DivergenceLoss):
    """max(floor, KL) row by row, moving both sides alike. (PlaNet; its own form is smaller by the
    floor, which moves nothing.)"""

    def __init__(self, floor: float = 3.0) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, posterior: L, prior: L) -> Divergence:
        """(B, T) loss "kl"."""
        value = kl(posterior, prior)
        return Divergence({"kl": free_bits(value, self.floor)}, value.detach())


class FreeNatsOfMean(DivergenceLoss):
    """max(floor, mean KL): rows below the floor still move while the mean is above it. (The first
    Dreamer.)"""

    def __init__(self, floor: float = 3.0) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, posterior: L, prior: L) -> Divergence:
        """() loss "kl"."""
        value = kl(posterior, prior)
        return Divergence({"kl": free_bits(value.mean(), self.floor)}, value.detach())


class BalancedKL(DivergenceLoss):
    """scale * (share KL(sg posterior || prior) + (1 - share) KL(posterior || sg prior)), each mean
    at least `floor`. (The second Dreamer.)"""

    def __init__(self, scale: float = 1.0, share: float = 0.8, floor: float = 1.0) -> None:
        super().__init__()
        self.scale, self.share, self.floor = scale, share, floor

    def forward(self, posterior: L, prior: L) -> Divergence:
        """() losses "dyn", which moves the prior, and "rep", which moves the posterior."""
        dyn, rep = kl(posterior.detach(), prior), kl(posterior, prior.detach())
        losses = {
            "dyn": self.scale * self.share * free_bits(dyn.mean(), self.floor),
            "rep": self.scale * (1 - self.share) * free_bits(rep.mean(), self.floor),
        }
        return Divergence(losses, rep.detach())


class ControlledKL(DivergenceLoss):
    """Balanced as `BalancedKL`, without a floor; the scale seeks a divergence of `target` nats.

    It starts at 1 and stays within 0.001..1, so that it holds the divergence down where it must
    and lets the reconstruction win where it can. (DayDreamer.)
    """

    def __init__(self, target: float = 3.5, share: float = 0.8) -> None:
        super().__init__()
        self.share = share
        self.scale = Controller((), target, low=1e-3, high=1.0, more_when="above")

    def forward(self, posterior: L, prior: L) -> Divergence:
        """(B, T) losses "dyn", which moves the prior, and "rep", which moves the posterior."""
        scale = self.scale.current()
        dyn, rep = kl(posterior.detach(), prior), kl(posterior, prior.detach())
        losses = {"dyn": scale * self.share * dyn, "rep": scale * (1 - self.share) * rep}
        return Divergence(losses, rep.detach())

    def update(self, value: torch.Tensor) -> None:
        """Move the scale by the mean divergence; the next losses use it."""
        self.scale.update(value)


class DynRepKL(DivergenceLoss):
    """dyn * max(floor, KL(sg posterior || prior)) and rep * max(floor, KL(posterior || sg prior)),
    row by row. (The third Dreamer.)"""

    def __init__(self, dyn: float = 1.0, rep: float = 0.1, floor: float = 1.0) -> None:
        super().__init__()
        self.dyn, self.rep, self.floor = dyn, rep, floor

    def forward(self, posterior: L, prior: L) -> Divergence:
        """(B, T) losses "dyn", which moves the prior, and "rep", which moves the posterior."""
        dyn, rep = kl(posterior.detach(), prior), kl(posterior, prior.detach())
        losses = {
            "dyn": self.dyn * free_bits(dyn, self.floor),
            "rep": self.rep * free_bits(rep, self.floor),
        }
        return Divergence(losses, rep.detach())
