"""What a critic predicts of the return: a number, or how probable each of many is (C51)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses


class Target:
    """What a return should be predicted as: `reward` + `discount` times what follows, all (B,).

    Args:
        reward: of the steps between.
        discount: factor of what follows; 0 where nothing does.
        following: (B, width) raw prediction of what follows.
    """

    def __init__(
        self, reward: torch.Tensor, discount: torch.Tensor, following: torch.Tensor
    ) -> None:
        self.reward, self.discount, self.following = reward, discount, following.detach()


class Number(nn.Module):
    """A critic of `width` 1: the expected return itself.

    Args:
        huber: errors beyond 1 count linearly (DQN clips their gradient), else all by half the
            square.
    """

    width = 1

    def __init__(self, huber: bool = False) -> None:
        super().__init__()
        self.huber = huber

    def pred(self, raw: torch.Tensor) -> torch.Tensor:
        """(..., 1) -> (...)."""
        return raw[..., 0]

    def loss(self, raw: torch.Tensor, target: Target) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 1) -> (B,) loss, and (B,) how wrong it was: the absolute error."""
        wanted = target.reward + target.discount * self.pred(target.following)
        return distance(self.pred(raw), wanted, self.huber)


def distance(
    pred: torch.Tensor, wanted: torch.Tensor, huber: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """(...) loss and (...) absolute error of numbers (...); beyond 1 `huber` is linear."""
    error = (pred - wanted).abs()
    loss = F.huber_loss(pred, wanted, reduction="none") if huber else 0.5 * error.square()
    return loss, error.detach()


class Atoms(nn.Module):
    """A critic of probabilities of evenly spaced returns (Bellemare et al. 2017, "A distributional
    perspective on reinforcement learning"): its raw prediction (..., width) are logits.

    What a robot earns must lie between `low` and `high`, discounted; what is beyond counts as the
    end.
    """

    support: torch.Tensor

    def __init__(self, width: int, low: float, high: float) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("support", torch.linspace(low, high, width), persistent=False)

    def pred(self, raw: torch.Tensor) -> torch.Tensor:
        """(..., width) -> (...) expected returns."""
        return (torch.softmax(raw, -1) * self.support).sum(-1)

    def loss(self, raw: torch.Tensor, target: Target) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, width) -> (B,) cross-entropy, and (B,) how wrong it was: the divergence."""
        wanted = self.project(torch.softmax(target.following, -1), target.reward, target.discount)
        loss = -(wanted * torch.log_softmax(raw, -1)).sum(-1)
        # Less the least that it could be, so that what is known well has a priority near 0.
        least = -(wanted * wanted.clamp(min=torch.finfo(wanted.dtype).tiny).log()).sum(-1)
        return loss, (loss.detach() - least).clamp(min=0)

    def project(
        self, probs: torch.Tensor, reward: torch.Tensor, discount: torch.Tensor
    ) -> torch.Tensor:
        """(B, width) masses at reward + discount * support, each split between its neighbours."""
        low, high = self.support[0], self.support[-1]
        gap = (high - low) / (self.width - 1)
        place = (reward[:, None] + discount[:, None] * self.support).clamp(low, high)
        place = (place - low) / gap
        below = place.floor().clamp(max=self.width - 2)  # what is on the last atom has a right one
        right = probs * (place - below)
        index = below.long()
        masses = torch.zeros_like(probs).scatter_add_(1, index, probs - right)
        return masses.scatter_add_(1, index + 1, right)


Head = Number | Atoms


def make_head(atoms: int, low: float, high: float, huber: bool = False) -> Head:
    """The distribution over so many atoms, or the number if there are none."""
    return Atoms(atoms, low, high) if atoms else Number(huber)
