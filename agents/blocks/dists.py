"""Distributions as plain tensor algebra. Randomness enters as noise, so it can be replayed.

Standard Gumbel noise makes choices and standard normal noise moves; zero noise is the mode.
Everything is computed in at least float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.scalars import symlog, widen

_LOG_2PI = math.log(2 * math.pi)
_SHORT_AXIS = 8


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


def one_hot_latent(logits: torch.Tensor, unimix: float = 0.01) -> OneHotLatent:
    """From logits (..., groups, classes), mixed with a share `unimix` > 0 of uniform."""
    probs = _softmax(widen(logits))
    probs = (1 - unimix) * probs + unimix / logits.shape[-1]
    return OneHotLatent(probs, probs.log())


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    # Along a short axis that is the last one, a CPU takes several times as long.
    if logits.shape[-1] > _SHORT_AXIS:
        return torch.softmax(logits, -1)
    return torch.softmax(logits.mT, -2).mT.contiguous()


def kl(left: OneHotLatent, right: OneHotLatent) -> torch.Tensor:
    """(...) divergence of `right` from `left`, KL(left || right), summed over the groups."""
    return (left.probs * (left.log_probs - right.log_probs)).sum((-2, -1))


def free_bits(divergence: torch.Tensor, floor: float = 1.0) -> torch.Tensor:
    """max(floor, divergence) element by element; below the floor there is no gradient."""
    return divergence.clamp(min=floor)


def kl_losses(
    posterior: OneHotLatent, prior: OneHotLatent, floor: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """(...) dynamics loss, which moves the prior only, and (...) representation loss, which moves
    the posterior only."""
    dynamics = free_bits(kl(posterior.detach(), prior), floor)
    representation = free_bits(kl(posterior, prior.detach()), floor)
    return dynamics, representation


@dataclass(frozen=True)
class Normal:
    """Diagonal normal distribution of actions, mean and std (..., actions)."""

    mean: torch.Tensor
    std: torch.Tensor

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        """mean + std * noise, standard normal noise; neither squashed nor clipped."""
        return self.mean + self.std * noise

    def mode(self) -> torch.Tensor:
        """The mean."""
        return self.mean

    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        """(...) log-density, summed over the action's dimensions."""
        deviation = (action - self.mean) / self.std
        return -(0.5 * deviation.square() + self.std.log() + 0.5 * _LOG_2PI).sum(-1)

    def entropy(self) -> torch.Tensor:
        """(...) entropy, summed over the action's dimensions."""
        return (self.std.log() + 0.5 * (1 + _LOG_2PI)).sum(-1)


def bounded_normal(mean: torch.Tensor, std: torch.Tensor) -> Normal:
    """From raw outputs (..., actions): means within (-1, 1), deviations within (0.1, 1)."""
    return Normal(torch.tanh(widen(mean)), 0.9 * torch.sigmoid(widen(std) + 2) + 0.1)


@dataclass(frozen=True)
class Categorical:
    """Distribution over discrete actions, log_probs (..., classes). Made by `categorical`."""

    log_probs: torch.Tensor

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        """(...) int64 index, chosen by Gumbel noise (..., classes)."""
        return (self.log_probs + noise).argmax(-1)

    def mode(self) -> torch.Tensor:
        """(...) int64 likeliest index."""
        return self.log_probs.argmax(-1)

    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        """(...) log-probability of indices (...)."""
        return self.log_probs.gather(-1, action[..., None].long())[..., 0]

    def entropy(self) -> torch.Tensor:
        """(...) entropy in nats."""
        return -(self.log_probs.exp() * self.log_probs).sum(-1)


def categorical(logits: torch.Tensor) -> Categorical:
    """From logits (..., classes), without any mixing."""
    return Categorical(torch.log_softmax(widen(logits), -1))


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


def symlog_mse(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """(...) squared error of `pred` (..., D), in symlog space, from raw `target` (..., D)."""
    return (widen(pred) - symlog(widen(target.detach()))).square().sum(-1)


def image_mse(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """(...) squared error summed over the three axes of an image, both scaled to 0..1."""
    return (widen(pred) - widen(target.detach())).square().sum((-3, -2, -1))
