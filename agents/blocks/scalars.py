"""Regression of numbers: as they are, by their symlog, and two-hot over symexp-spaced bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


def widen(x: torch.Tensor) -> torch.Tensor:
    """In float32, or float64 where it is that already: for what bfloat16 is too coarse for."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def symlog(x: torch.Tensor) -> torch.Tensor:
    """sign(x) log(1 + |x|)."""
    return torch.sign(x) * torch.log1p(x.abs())


def symexp(x: torch.Tensor) -> torch.Tensor:
    """Inverse of `symlog`: sign(x) (exp|x| - 1)."""
    return torch.sign(x) * torch.expm1(x.abs())


def symexp_bins(count: int = 255, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(count,) increasing points symexp(-20..20), exactly antisymmetric; `count` is odd."""
    if count % 2 == 0:
        raise ValueError(f"the number of bins must be odd, not {count}")
    lower = symexp(torch.linspace(-20, 0, count // 2 + 1, dtype=torch.float64))
    return torch.cat([lower, -lower[:-1].flip(0)]).to(dtype)


@dataclass(frozen=True)
class TwoHot:
    """A distribution over `bins` (K,), given by log_probs (..., K), both at least float32."""

    log_probs: torch.Tensor
    bins: torch.Tensor

    def __getitem__(self, index: Any) -> TwoHot:
        """The part at `index` of the leading axes."""
        return TwoHot(self.log_probs[index], self.bins)

    def pred(self) -> torch.Tensor:
        """Expectation (...). Taken over mirrored pairs, so that equal logits yield exactly 0."""
        half = self.bins.shape[0] // 2
        probs = self.log_probs.exp()
        excess = probs[..., half + 1 :] - probs[..., :half].flip(-1)
        return excess.mul_(self.bins[half + 1 :]).sum(-1)

    def encode(self, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The two neighbours of `target` (...): bin indices (..., 2) and weights (..., 2)."""
        last = self.bins.shape[0] - 1
        above = torch.searchsorted(self.bins, target.contiguous(), right=True)
        below = (above - 1).clamp(min=0)
        pair = torch.stack([below, above.clamp(max=last)], -1)
        # Each neighbour weighs as much as the other is far; on one bin twice, half and half.
        far = (self.bins[pair] - target[..., None]).abs().flip(-1)
        far = torch.where(pair[..., :1] == pair[..., 1:], 1.0, far)
        return pair, far / far.sum(-1, keepdim=True)

    def loss(self, target: torch.Tensor) -> torch.Tensor:
        """Cross-entropy (...) with `target` (...), raw numbers, which gets no gradient."""
        pair, weight = self.encode(target.detach().to(self.bins.dtype))
        return -(self.log_probs.gather(-1, pair) * weight).sum(-1)


@dataclass(frozen=True)
class UnitNormal:
    """A normal distribution of deviation 1 around `mean` (...)."""

    mean: torch.Tensor

    def __getitem__(self, index: Any) -> UnitNormal:
        """The part at `index` of the leading axes."""
        return UnitNormal(self.mean[index])

    def pred(self) -> torch.Tensor:
        """Expectation (...)."""
        return self.mean

    def loss(self, target: torch.Tensor) -> torch.Tensor:
        """(...) negative log-likelihood of `target` (...), which gets no gradient, up to a
        constant: half the squared distance."""
        return 0.5 * (self.mean - target.detach().to(self.mean.dtype)).square()


@dataclass(frozen=True)
class SymlogNumber:
    """A number by its symlog, `raw` (...); far from 0 its errors count by ratio. (DayDreamer.)"""

    raw: torch.Tensor

    def __getitem__(self, index: Any) -> SymlogNumber:
        """The part at `index` of the leading axes."""
        return SymlogNumber(self.raw[index])

    def pred(self) -> torch.Tensor:
        """The number (...)."""
        return symexp(self.raw)

    def loss(self, target: torch.Tensor) -> torch.Tensor:
        """(...) squared distance in symlog space from `target` (...), raw numbers, which gets no
        gradient."""
        return (self.raw - symlog(target.detach().to(self.raw.dtype))).square()


Scalar = TwoHot | UnitNormal | SymlogNumber


class SymexpTwohot(nn.Module):
    """Logits (..., count) to `TwoHot`; holds the bins on the device, and no parameters."""

    bins: torch.Tensor

    def __init__(self, count: int = 255) -> None:
        super().__init__()
        self.register_buffer("bins", symexp_bins(count), persistent=False)

    def forward(self, logits: torch.Tensor) -> TwoHot:
        """The distribution that the logits stand for."""
        return TwoHot(torch.log_softmax(widen(logits), -1), self.bins)
