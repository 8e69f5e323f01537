"""Mixtures of normal distributions (Bishop 1994, "Mixture density networks"), one per number.

World Models predicts each latent number by a mixture of its own, independent of the others; a
mixture over whole vectors would be another model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from agents.blocks.dists import LOG_2PI
from agents.blocks.scalars import widen


@dataclass(frozen=True)
class Mixture:
    """log_weights (normalised), mean and log_std, each (..., S, K): S numbers, K components."""

    log_weights: torch.Tensor
    mean: torch.Tensor
    log_std: torch.Tensor

    def loss(self, value: torch.Tensor) -> torch.Tensor:
        """(..., S) negative log-densities of a value (..., S)."""
        away = (value[..., None] - self.mean) * (-self.log_std).exp()
        parts = self.log_weights - 0.5 * away.square() - self.log_std - 0.5 * LOG_2PI
        return -parts.logsumexp(-1)

    def sample(
        self, gumbel: torch.Tensor, normal: torch.Tensor, temperature: float = 1.0
    ) -> torch.Tensor:
        """A value (..., S).

        The logits of the components are divided by the temperature, the deviation multiplied by
        its root (World Models, section 4.2): 0 would be the likeliest component's mean.

        Args:
            gumbel: standard Gumbel noise (..., S, K).
            normal: standard normal noise (..., S).
            temperature: above 0.
        """
        choice = (self.log_weights / temperature + gumbel).argmax(-1, keepdim=True)
        mean, log_std = (t.gather(-1, choice)[..., 0] for t in (self.mean, self.log_std))
        value: torch.Tensor = mean + temperature**0.5 * log_std.exp() * normal
        return value


def mixture(raw: torch.Tensor, components: int) -> Mixture:
    """From raw outputs (..., S * K * 3): logits of weights, means and logarithms of deviations."""
    parts = widen(raw).reshape(*raw.shape[:-1], -1, 3 * components)
    logits, mean, log_std = torch.split(parts, components, -1)
    return Mixture(logits.log_softmax(-1), mean, log_std)
