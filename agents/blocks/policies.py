"""Distributions of actions. Noise makes a sample, and zero noise makes the mode.

For numbers the noise is standard normal, for choices it is standard Gumbel. All are computed in at
least float32, and their samples export to ONNX.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.dists import LOG_2PI
from agents.blocks.quantiles import density, lower_quantile, upper_tail
from agents.blocks.scalars import widen

MIN_STD = 0.1  # of normal policies, whose widest deviation is 1
_LOG_2 = math.log(2)


def normal_entropy(std: float) -> float:
    """Entropy in nats of a normal number with this standard deviation."""
    return math.log(std) + 0.5 * (1 + LOG_2PI)


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
        return -(0.5 * deviation.square() + self.std.log() + 0.5 * LOG_2PI).sum(-1)

    def entropies(self) -> torch.Tensor:
        """(..., actions) entropy of each dimension."""
        return self.std.log() + 0.5 * (1 + LOG_2PI)

    def entropy(self) -> torch.Tensor:
        """(...) entropy, summed over the action's dimensions."""
        return self.entropies().sum(-1)


def bounded_normal(mean: torch.Tensor, std: torch.Tensor, shift: float = 2.0) -> Normal:
    """From raw outputs (..., actions): means within (-1, 1), deviations within (0.1, 1).

    With the shift of 2 deviations start near 1, as in the third Dreamer; DayDreamer has none.
    """
    share = torch.sigmoid(widen(std) + shift)
    return Normal(torch.tanh(widen(mean)), (1 - MIN_STD) * share + MIN_STD)


@dataclass(frozen=True)
class TanhNormal:
    """tanh of a normal number, mean and std (..., actions) of what is squashed."""

    mean: torch.Tensor
    std: torch.Tensor

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        """tanh(mean + std * noise), standard normal noise."""
        return torch.tanh(self.mean + self.std * noise)

    def sample_with_log_prob(self, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The sample (..., actions) and its (...) log-density, exact however near the bounds."""
        raw = self.mean + self.std * noise
        density = Normal(self.mean, self.std).log_prob(raw) - _log_slope(raw).sum(-1)
        return torch.tanh(raw), density

    def mode(self) -> torch.Tensor:
        """tanh(mean): the median. Beyond a deviation of 0.7 the density may peak at the ends."""
        return torch.tanh(self.mean)

    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        """(...) log-density; an action on the bounds counts as the last number before them."""
        limit = 1 - torch.finfo(self.mean.dtype).eps
        raw = torch.atanh(action.to(self.mean.dtype).clamp(-limit, limit))
        return Normal(self.mean, self.std).log_prob(raw) - _log_slope(raw).sum(-1)

    def entropies(self) -> torch.Tensor:
        """(..., actions) entropy of each dimension: the normal one's plus the expected log-slope.

        The expectation has no closed form. It is a sum over 33 points within four deviations,
        right to 0.01 nats for deviations up to 2 and to 0.05 up to 6.
        """
        points = torch.linspace(-4, 4, 33, dtype=self.mean.dtype, device=self.mean.device)
        weights = torch.softmax(-0.5 * points.square(), 0)
        raw = self.mean[..., None] + self.std[..., None] * points
        return Normal(self.mean, self.std).entropies() + (_log_slope(raw) * weights).sum(-1)

    def entropy(self) -> torch.Tensor:
        """(...) entropy, summed over the action's dimensions."""
        return self.entropies().sum(-1)


def _log_slope(raw: torch.Tensor) -> torch.Tensor:
    """log of the derivative of tanh, 1 - tanh(raw)^2, without cancellation."""
    return 2 * (_LOG_2 - raw - F.softplus(-2 * raw))


def tanh_normal(mean: torch.Tensor, std: torch.Tensor) -> TanhNormal:
    """From raw outputs (..., actions), as the first Dreamer: means within (-5, 5), deviations that
    are 5 where the raw one is 0."""
    shift = math.log(math.expm1(5.0))
    return TanhNormal(5 * torch.tanh(widen(mean) / 5), F.softplus(widen(std) + shift) + 1e-4)


@dataclass(frozen=True)
class TruncatedNormal:
    """Normal numbers given that they lie within -1..1, mean and std (..., actions) before that.

    The mean must lie within -1..1 itself, so that it is the mode.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        """(..., actions) with gradient; standard normal noise, whose quantile is the sample's.

        The quantile in the middle is the median and not the mode, so noise of exactly 0, which
        only who wants the mode gives, is told apart.
        """
        below, above = self._tails()
        mass = 1 - below - above
        rest = upper_tail(noise.abs())
        left = below + mass * torch.where(noise < 0, rest, 1 - rest)
        right = above + mass * torch.where(noise < 0, 1 - rest, rest)
        # Each half from its own end, where the probability is small and has all its digits.
        deviation = torch.where(left < right, lower_quantile(left), -lower_quantile(right))
        action = (self.mean + self.std * deviation).clamp(-1, 1)
        return torch.where(noise == 0, self.mean, action)

    def mode(self) -> torch.Tensor:
        """The mean of the normal numbers before they are cut."""
        return self.mean

    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        """(...) log-density of actions within -1..1, summed over the dimensions."""
        below, above = self._tails()
        mass = 1 - below - above
        return Normal(self.mean, self.std).log_prob(action) - mass.log().sum(-1)

    def entropies(self) -> torch.Tensor:
        """(..., actions) entropy of each dimension."""
        low, high = (-1 - self.mean) / self.std, (1 - self.mean) / self.std
        below, above = self._tails()
        mass = 1 - below - above
        edges = (low * density(low) - high * density(high)) / (2 * mass)
        return Normal(self.mean, self.std).entropies() + mass.log() + edges

    def entropy(self) -> torch.Tensor:
        """(...) entropy, summed over the action's dimensions."""
        return self.entropies().sum(-1)

    def _tails(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Probability of less than -1, and of more than 1, before the cut."""
        return upper_tail((1 + self.mean) / self.std), upper_tail((1 - self.mean) / self.std)


def truncated_normal(mean: torch.Tensor, std: torch.Tensor) -> TruncatedNormal:
    """From raw outputs (..., actions), as the second Dreamer: means within (-1, 1), deviations
    within (0.1, 2.1)."""
    return TruncatedNormal(torch.tanh(widen(mean)), 2 * torch.sigmoid(widen(std) / 2) + 0.1)


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

    def entropies(self) -> torch.Tensor:
        """(..., 1) entropy: a choice is one dimension."""
        return self.entropy()[..., None]

    def entropy(self) -> torch.Tensor:
        """(...) entropy in nats."""
        return -(self.log_probs.exp() * self.log_probs).sum(-1)


def categorical(logits: torch.Tensor, unimix: float = 0.0) -> Categorical:
    """From logits (..., classes), mixed with a share `unimix` of uniform."""
    if not unimix:
        return Categorical(torch.log_softmax(widen(logits), -1))
    probs = torch.softmax(widen(logits), -1)
    return Categorical(((1 - unimix) * probs + unimix / logits.shape[-1]).log())


Policy = Normal | TanhNormal | TruncatedNormal | Categorical


def told(policy: Policy) -> dict[str, torch.Tensor]:
    """What a robot's graph says of its policy to who learns from it; see `robot_client.bundle`.

    Nothing for numbers that no tanh bounds: their kind of distribution has no name there.
    """
    match policy:
        case Categorical(log_probs):
            return {"out_logits": log_probs}
        case TanhNormal(mean, std):
            return {"out_mean": mean, "out_std": std}
        case _:
            return {}
