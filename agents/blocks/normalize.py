"""Running statistics, and slow copies of networks. All state stays on the device."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def percentiles(x: torch.Tensor, at: Sequence[float]) -> torch.Tensor:
    """(len(at),) percentiles (0..100) of all numbers of `x`, interpolated linearly; one sort."""
    ordered = x.flatten().sort().values
    positions = [(ordered.shape[0] - 1) * p / 100 for p in at]
    pairs = [(ordered[math.floor(p)], ordered[math.ceil(p)], p % 1) for p in positions]
    return torch.stack([torch.lerp(below, above, share) for below, above, share in pairs])


class RunningStatistics(nn.Module):
    """Moving average, with the given rate, of two statistics of each batch.

    Starts at zero. With `debias` the averages are divided by the weight seen so far.
    """

    average: torch.Tensor
    weight: torch.Tensor

    def __init__(self, rate: float, debias: bool) -> None:
        super().__init__()
        self.rate, self.debias = rate, debias
        self.register_buffer("average", torch.zeros(2))
        self.register_buffer("weight", torch.zeros(()))

    def statistics(self, x: torch.Tensor) -> torch.Tensor:
        """(2,) of a batch of any shape."""
        raise NotImplementedError

    @torch.no_grad()
    def update(self, x: torch.Tensor) -> None:
        """Take in a batch of any shape."""
        self.average.lerp_(self.statistics(x.to(self.average.dtype)), self.rate)
        self.weight.lerp_(torch.ones_like(self.weight), self.rate)

    def current(self) -> torch.Tensor:
        """(2,) averages, corrected where asked for."""
        return self.average / self.weight if self.debias else self.average

    def forward(self, advantage: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
        """Take in a batch, then normalise its advantages: (N, H) both -> (N, H)."""
        raise NotImplementedError


class ReturnNormaliser(RunningStatistics):
    """Range of the returns, from their 5th to their 95th percentile, never below `limit`."""

    def __init__(self, rate: float = 0.01, limit: float = 1.0, debias: bool = False) -> None:
        super().__init__(rate, debias)
        self.limit = limit

    def statistics(self, x: torch.Tensor) -> torch.Tensor:
        """(2,) 5th and 95th percentile."""
        return percentiles(x, (5, 95))

    def offset(self) -> torch.Tensor:
        """() lower end of the range."""
        return self.current()[0]

    def scale(self) -> torch.Tensor:
        """() width of the range."""
        low, high = self.current().unbind()
        return (high - low).clamp(min=self.limit)

    def forward(self, advantage: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
        """Divided by the range of the returns (the third Dreamer)."""
        self.update(returns)
        return advantage / self.scale()


class MeanStdNormaliser(RunningStatistics):
    """Mean and deviation of everything seen, the deviation never below `limit`."""

    def __init__(self, rate: float = 0.01, limit: float = 1e-8, debias: bool = True) -> None:
        super().__init__(rate, debias)
        self.limit = limit

    def statistics(self, x: torch.Tensor) -> torch.Tensor:
        """(2,) mean and mean square."""
        return torch.stack([x.mean(), x.square().mean()])

    def offset(self) -> torch.Tensor:
        """() mean."""
        return self.current()[0]

    def scale(self) -> torch.Tensor:
        """() standard deviation."""
        mean, square = self.current().unbind()
        return (square - mean.square()).clamp(min=0).sqrt().clamp(min=self.limit)

    def forward(self, advantage: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
        """Standardised by the advantages seen (DayDreamer)."""
        self.update(advantage)
        return (advantage - self.offset()) / self.scale()


class NoNormaliser(nn.Module):
    """Leaves advantages as they are (the first and the second Dreamer)."""

    one: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("one", torch.ones(()), persistent=False)

    def forward(self, advantage: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
        """(N, H) both -> (N, H)."""
        return advantage

    def scale(self) -> torch.Tensor:
        """() one."""
        return self.one


class Units(nn.Module):
    """Mean and deviation of each of `width` numbers: of all batches seen, and later of the newest.

    Args:
        width: see above.
        rate: least weight of a new batch.
        limit: least deviation; what hardly varies is not blown up.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    batches: torch.Tensor

    def __init__(self, width: int, rate: float = 1e-3, limit: float = 1e-4) -> None:
        super().__init__()
        self.width, self.rate, self.limit = width, rate, limit
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.register_buffer("batches", torch.zeros(()))

    @torch.no_grad()
    def update(self, x: torch.Tensor) -> None:
        """Take in (B, width)."""
        self.batches.add_(1)
        share = (1 / self.batches).clamp(min=self.rate)
        away = x.mean(0) - self.mean
        spread = x.var(0, unbiased=False) + (1 - share) * away.square()
        self.mean.add_(share * away)
        self.variance.lerp_(spread, share)

    def deviation(self) -> torch.Tensor:
        """(width,) never below the limit."""
        return self.variance.clamp(min=self.limit**2).sqrt()

    def varies(self) -> torch.Tensor:
        """(width,) bool: which numbers differ by more than the limit."""
        return self.variance > self.limit**2

    def normalise(self, x: torch.Tensor) -> torch.Tensor:
        """(..., width) in deviations from the mean."""
        return (x - self.mean) / self.deviation()

    def restore(self, x: torch.Tensor) -> torch.Tensor:
        """Inverse of `normalise`."""
        return x * self.deviation() + self.mean


def slow_copy(module: M) -> M:
    """A copy that no gradient reaches, to be moved by `slow_update_`."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def slow_update_(slow: nn.Module, source: nn.Module, rate: float = 0.02) -> None:
    """Move every parameter of `slow` by the share `rate` towards that of `source`."""
    torch._foreach_lerp_(list(slow.parameters()), list(source.parameters()), rate)
