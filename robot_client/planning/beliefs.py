"""Distributions of plans: where a search looks, and how what it found changes that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_client.planning.model import Actions, Floats, one_hot

UNIFORM = 0.02  # share of equal chances that no refinement takes away: ours
WARM = 0.5  # the same for a plan of the step before: ours


class Belief(Protocol):
    """A distribution of (H, A) plans. `location` is what the next step begins with."""

    @property
    def location(self) -> Floats:
        """(H, A) mean, or chances."""
        ...

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        """(count, H, A)."""
        ...

    def refit(self, plans: Floats, weights: NDArray[np.float64]) -> Belief:
        """Towards plans (K, H, A) that weigh (K,), which sum to one."""
        ...

    def mode(self) -> Floats:
        """(H, A) the most likely plan."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """Independent normal numbers, clipped to the bounds; in time, noise of a power spectrum.

    PETS' CEM truncates what it draws, and keeps a share of the old variance; here what lies outside
    is clipped, as in iCEM, and it is the deviation that keeps a share.

    Args:
        location, std: (H, A).
        actions: for the bounds.
        momentum: share of the old mean and deviation that a refinement keeps.
        min_std: the least deviation.
        colour: exponent of the noise's spectrum.
    """

    location: Floats
    std: Floats
    actions: Actions
    momentum: float = 0.0
    min_std: float = 0.0
    colour: float = 0.0

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        """(count, H, A)."""
        noise = coloured(rng, (count, *self.location.shape), self.colour)
        return (self.location + self.std * noise).clip(self.actions.low, self.actions.high)

    def refit(self, plans: Floats, weights: NDArray[np.float64]) -> Gaussian:
        """Weighted mean and (population) deviation."""
        mean = np.tensordot(weights, plans, 1)
        std = np.sqrt(np.tensordot(weights, (plans - mean) ** 2, 1))
        old, new = self.momentum, 1 - self.momentum
        return replace(
            self,
            location=(old * self.location + new * mean).astype(np.float32),
            std=np.maximum(old * self.std + new * std, self.min_std).astype(np.float32),
        )

    def mode(self) -> Floats:
        """The mean."""
        return self.location


@dataclass(frozen=True)
class Categorical:
    """Independent choices.

    Args:
        location: (H, A) chances.
        momentum: share of the old chances that a refinement keeps.
    """

    location: Floats
    momentum: float = 0.0

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        """(count, H, A) one-hot."""
        uniform = rng.random((count, len(self.location), 1))
        cumulated = self.location.astype(np.float64).cumsum(-1)
        index = (uniform * cumulated[:, -1:] >= cumulated).sum(-1)
        return one_hot(index, self.location.shape[-1])

    def refit(self, plans: Floats, weights: NDArray[np.float64]) -> Categorical:
        """Weighted shares, of which none ever becomes zero."""
        shares = np.tensordot(weights, plans, 1)
        mixed = self.momentum * self.location + (1 - self.momentum) * shares
        return replace(self, location=with_uniform(mixed, UNIFORM))

    def mode(self) -> Floats:
        """One-hot."""
        return one_hot(self.location.argmax(-1), self.location.shape[-1])


@dataclass(frozen=True)
class Anywhere:
    """Uniform between two bounds, normal where there are less. Learns nothing.

    Args:
        location: (H, A) of the middle.
        std: of the unbounded.
        actions: for the bounds.
    """

    location: Floats
    std: float
    actions: Actions

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        """(count, H, A)."""
        low, high = self.actions.low, self.actions.high
        shape = (count, *self.location.shape)
        normal = self.location + self.std * rng.standard_normal(shape, np.float32)
        bounded = np.isfinite(low) & np.isfinite(high)
        finite_low, finite_high = (np.where(bounded, end, 0.0) for end in (low, high))
        uniform = rng.uniform(finite_low, finite_high, shape).astype(np.float32)
        return np.where(bounded, uniform, normal.clip(low, high))

    def refit(self, plans: Floats, weights: NDArray[np.float64]) -> Anywhere:
        """The same."""
        return self

    def mode(self) -> Floats:
        """The middle."""
        return self.location


def with_uniform(chances: NDArray[np.floating], share: float) -> Floats:
    """(H, A) chances, mixed with equal ones."""
    mixed: Floats = ((1 - share) * chances + share / chances.shape[-1]).astype(np.float32)
    return mixed


def shift(plans: Floats) -> Floats:
    """(..., H, A) one step on; the last action is taken twice."""
    return np.concatenate([plans[..., 1:, :], plans[..., -1:, :]], -2)


def coloured(rng: np.random.Generator, shape: tuple[int, int, int], exponent: float) -> Floats:
    """(N, H, A) normal numbers of variance one whose power along H falls as 1 / f**exponent.

    Their Fourier coefficients are drawn (Timmer and Koenig 1995). The constant part has the power
    of the lowest frequency 1 / H.
    """
    count, horizon, width = shape
    if exponent == 0:
        return rng.standard_normal(shape, np.float32)
    frequency = np.fft.rfftfreq(horizon)
    frequency[0] = 1 / horizon
    amplitude = frequency ** (-exponent / 2)
    real, imaginary = rng.standard_normal((2, count, width, len(frequency)))
    alone = [0, -1] if horizon % 2 == 0 else [0]  # these coefficients are real
    real[..., alone] *= np.sqrt(2)
    imaginary[..., alone] = 0
    power = 4 * amplitude**2
    power[alone] /= 2
    noise = np.fft.irfft(amplitude * (real + 1j * imaginary), horizon)
    scaled: Floats = (noise * horizon / np.sqrt(power.sum())).astype(np.float32)
    return scaled.swapaxes(1, 2)
