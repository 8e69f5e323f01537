"""Distributions as plain tensor algebra: stochastic states and what is reconstructed from them.

Randomness enters as noise, so it can be replayed. Standard Gumbel noise makes choices and standard
normal noise moves; zero noise is the mode. Everything is computed in at least float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.scalars import widen

LOG_2PI = math.log(2 * math.pi)
_SHORT_AXIS = 8

L = TypeVar("L", bound="Latent")


def gumbel(
    shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Standard Gumbel noise on the generator's device."""
    noise = torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)
    # A uniform that came out as 0 stays finite; several times cheaper than `exponential_`.
    tiny = torch.finfo(dtype).tiny
    return noise.clamp_(min=tiny).log_().neg_().log_().neg_()


@dataclass(frozen=True)
class OneHotLatent:
    """Independent categorical variables: probs and log_probs (..., groups, classes).

    Sums are over the groups. Made by `one_hot_latent`.
    """

    probs: torch.Tensor
    log_probs: torch.Tensor

    def detach(self) -> OneHotLatent:
        """The same distribution, without gradient."""
        return OneHotLatent(self.probs.detach(), self.log_probs.detach())

    def _straight_through(self, scores: torch.Tensor) -> torch.Tensor:
        hot = torch.zeros_like(self.probs).scatter_(-1, scores.argmax(-1, keepdim=True), 1.0)
        return hot + (self.probs - self.probs.detach()) if self.probs.requires_grad else hot

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        """One-hot (..., groups, classes) whose gradient is that of probs; `noise` is Gumbel."""
        return self._straight_through(self.log_probs + noise)

    def mode(self) -> torch.Tensor:
        """The likeliest classes, one-hot, with the gradient of probs."""
        return self._straight_through(self.log_probs)

    def log_prob(self, one_hot: torch.Tensor) -> torch.Tensor:
        """(...) log-probability of a one-hot (..., groups, classes)."""
        return (self.log_probs * one_hot).sum((-2, -1))

    def entropy(self) -> torch.Tensor:
        """(...) entropy in nats."""
        return -(self.probs * self.log_probs).sum((-2, -1))

    def kl(self, other: OneHotLatent) -> torch.Tensor:
        """(...) KL(self || other), summed over the groups."""
        return (self.probs * (self.log_probs - other.log_probs)).sum((-2, -1))


def one_hot_latent(logits: torch.Tensor, unimix: float = 0.01) -> OneHotLatent:
    """From logits (..., groups, classes), mixed with a share `unimix` of uniform; 0 mixes none."""
    if not unimix:
        # The logarithm of a probability that has come out as 0 would be infinite.
        log_probs = _along_classes(torch.log_softmax, widen(logits))
        return OneHotLatent(log_probs.exp(), log_probs)
    probs = _along_classes(torch.softmax, widen(logits))
    probs = (1 - unimix) * probs + unimix / logits.shape[-1]
    return OneHotLatent(probs, probs.log())


def _along_classes(
    function: Callable[[torch.Tensor, int], torch.Tensor], logits: torch.Tensor
) -> torch.Tensor:
    # Along a short axis that is the last one, a CPU takes several times as long.
    if logits.shape[-1] > _SHORT_AXIS:
        return function(logits, -1)
    return function(logits.mT, -2).mT.contiguous()


@dataclass(frozen=True)
class GaussianLatent:
    """Independent normal variables, mean and std (..., Z). Made by `gaussian_latent`."""

    mean: torch.Tensor
    std: torch.Tensor

    def detach(self) -> GaussianLatent:
        """The same distribution, without gradient."""
        return GaussianLatent(self.mean.detach(), self.std.detach())

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        """(..., Z) mean + std * noise; `noise` is standard normal."""
        return self.mean + self.std * noise

    def mode(self) -> torch.Tensor:
        """(..., Z) the mean."""
        return self.mean

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """(...) log-density of a value (..., Z)."""
        deviation = (value - self.mean) / self.std
        return -(0.5 * deviation.square() + self.std.log() + 0.5 * LOG_2PI).sum(-1)

    def entropy(self) -> torch.Tensor:
        """(...) entropy in nats."""
        return (self.std.log() + 0.5 * (1 + LOG_2PI)).sum(-1)

    def kl(self, other: GaussianLatent) -> torch.Tensor:
        """(...) KL(self || other), summed over the variables."""
        ratio = self.std / other.std
        distance = (self.mean - other.mean) / other.std
        return (0.5 * (ratio.square() + distance.square() - 1) - ratio.log()).sum(-1)


def gaussian_latent(raw: torch.Tensor, min_std: float = 0.1) -> GaussianLatent:
    """From raw outputs (..., 2, Z): means, and what softplus and `min_std` make deviations.

    As in PlaNet (Hafner et al., 2019) and the first Dreamer.
    """
    mean, std = widen(raw).unbind(-2)
    return GaussianLatent(mean, F.softplus(std) + min_std)


class Latent(Protocol):
    """What the world model asks of the distribution of a stochastic state."""

    def detach(self: L) -> L:
        """The same distribution, without gradient."""
        ...

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        """A state, with gradient."""
        ...

    def mode(self) -> torch.Tensor:
        """The likeliest state, with gradient."""
        ...

    def entropy(self) -> torch.Tensor:
        """(...) in nats, summed over the state."""
        ...

    def kl(self: L, other: L) -> torch.Tensor:
        """(...) KL(self || other), summed over the state."""
        ...


def kl(left: L, right: L) -> torch.Tensor:
    """(...) divergence of `right` from `left`, KL(left || right), summed over the state."""
    return left.kl(right)


def free_bits(divergence: torch.Tensor, floor: float = 1.0) -> torch.Tensor:
    """max(floor, divergence) element by element; below the floor there is no gradient."""
    return divergence.clamp(min=floor)


@dataclass(frozen=True)
class Bernoulli:
    """Yes or no, by its logit (...). As a head: whether the episode goes on."""

    logit: torch.Tensor

    def prob(self) -> torch.Tensor:
        """(...) probability of yes."""
        return torch.sigmoid(widen(self.logit))

    def loss(self, target: torch.Tensor) -> torch.Tensor:
        """(...) cross-entropy with a target (...) anywhere in 0..1."""
        logit = widen(self.logit)
        return F.softplus(logit) - target.to(logit.dtype) * logit


def image_mse(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """(...) squared error summed over the three axes of an image, both scaled to 0..1."""
    return (widen(pred) - widen(target.detach())).square().sum((-3, -2, -1))
