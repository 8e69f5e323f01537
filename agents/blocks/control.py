"""Coefficients that seek a target, and the actor's entropy bonus. State stays on the device."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

# DayDreamer: ten per cent either way is close enough, and a step is ten per cent.
_TOLERANCE = 1.1
_STEP = 1.1


class Controller(nn.Module):
    """Coefficients, multiplied or divided by 1.1 whenever the measurement is off by ten per cent.

    Args:
        shape: of the coefficients; each sees its own part of the measurement.
        target: what the measurement should be, above 0.
        low, high: limits of the coefficients, which start at 1.
        more_when: whether they grow when the measurement is "above" the target or "below" it.
    """

    coefficient: torch.Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        target: float,
        low: float,
        high: float,
        more_when: Literal["above", "below"],
    ) -> None:
        super().__init__()
        self.target, self.low, self.high = target, low, high
        self.factor = _STEP if more_when == "above" else 1 / _STEP
        self.register_buffer("coefficient", torch.ones(shape))

    def current(self) -> torch.Tensor:
        """The coefficients, as they are now and stay for the backward pass."""
        return self.coefficient.clone()

    @torch.no_grad()
    def update(self, measured: torch.Tensor) -> None:
        """Take in measurements (..., *shape), whose mean over the leading axes counts."""
        mean = measured.flatten(0, measured.ndim - self.coefficient.ndim - 1).mean(0)
        above, below = mean > _TOLERANCE * self.target, mean < self.target / _TOLERANCE
        moved = torch.where(above, self.coefficient * self.factor, self.coefficient)
        moved = torch.where(below, self.coefficient / self.factor, moved)
        self.coefficient.copy_(moved.clamp(self.low, self.high))


class FixedEntropy(nn.Module):
    """An entropy bonus of constant scale."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, entropies: torch.Tensor) -> torch.Tensor:
        """Entropies (N, H, A) of each action dimension -> loss (N, H), negative for a bonus."""
        return -self.scale * entropies.sum(-1)

    def update(self, entropies: torch.Tensor) -> None:
        """Nothing to adapt."""


class EntropyTarget(nn.Module):
    """Keeps the entropy of each action dimension at a share of its range. (DayDreamer.)

    Args:
        actions: A, dimensions of the action; 1 for a choice.
        low, high: entropy in nats that counts as 0 and as 1: of the narrowest and the widest
            normal policy, or 0 and log(n) for n choices.
        target: share to be kept.
    """

    def __init__(self, actions: int, low: float, high: float, target: float = 0.4) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.scale = Controller((actions,), target, low=1e-5, high=1.0, more_when="below")

    def shares(self, entropies: torch.Tensor) -> torch.Tensor:
        """Entropies (N, H, A) in nats as shares of their range."""
        return (entropies - self.low) / (self.high - self.low)

    def forward(self, entropies: torch.Tensor) -> torch.Tensor:
        """Entropies (N, H, A) of each action dimension -> loss (N, H), negative for a bonus."""
        return -(self.scale.current() * self.shares(entropies)).sum(-1)

    def update(self, entropies: torch.Tensor) -> None:
        """Move the scales by the mean entropies; the next losses use them."""
        self.scale.update(self.shares(entropies))


Entropy = FixedEntropy | EntropyTarget
