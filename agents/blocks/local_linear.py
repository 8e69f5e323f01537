"""Linear models of what happens at each time of an episode, refitted as rows come.

Gu et al. 2016, "Continuous deep Q-learning with model-based acceleration", section 5.3, after
Levine and Abbeel 2014: near the trajectories of the day, and at one time of the episode, a robot is
almost linear, and a few rows are enough to say how.
"""

from __future__ import annotations

import torch
from torch import nn

_MIX = 6364136223846793005  # an odd number of many bits
_UNKNOWN = 1e-6  # weight of the thought that nothing changes, against the mean size of the inputs


class LocalLinear(nn.Module):
    """x' = x + [x, a, 1] W_t + noise, for each time t: normal, of independent numbers.

    Each W_t is a ridge regression, whose prior is the same regression over all times: what was not
    seen at a time is as at all others (Levine and Abbeel use a mixture of normals for that). Who
    replays brings the same row many times; it is counted once, or the prior would soon weigh
    nothing. The newest `memory` rows are known again by a checksum.

    Args:
        width: N, numbers of an observation.
        actions: A.
        steps: T times that are told apart; later ones are as the last.
        memory: rows after which one is forgotten, about.
        prior: rows of its own time that all other times together count for.
    """

    moments: torch.Tensor
    counted: torch.Tensor
    written: torch.Tensor
    weight: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, width: int, actions: int, steps: int, memory: int, prior: float) -> None:
        super().__init__()
        self.width, self.actions, self.steps = width, actions, steps
        self.memory, self.prior = memory, prior
        inputs = width + actions + 1
        size = inputs + width
        # Of double precision: squares of what hardly varies around a large mean are subtracted.
        self.register_buffer("moments", torch.zeros(steps, size, size, dtype=torch.float64))
        self.register_buffer("counted", torch.zeros(memory + 1, dtype=torch.int64))  # and the rest
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))
        self.register_buffer("weight", torch.zeros(steps, inputs, width))
        self.register_buffer("deviation", torch.zeros(steps, width))

    @torch.no_grad()
    def take_in(
        self, x: torch.Tensor, action: torch.Tensor, after: torch.Tensor, clock: torch.Tensor
    ) -> None:
        """Count rows: x and after (B, N), action (B, A), clock (B,) from 0; those below 0 do not
        count, nor do those that have been counted before."""
        new = self._new(
            _checksum(torch.cat([x, action, after, clock[:, None] + 1], -1)), clock >= 0
        )
        one = torch.ones_like(x[:, :1])
        rows = (new[:, None] * torch.cat([x, action, one, after - x], -1)).double()
        self.moments.mul_((1 - 1 / self.memory) ** new.sum().double())
        self.moments.index_add_(0, self._time(clock), rows[:, :, None] * rows[:, None, :])

    def _new(self, marks: torch.Tensor, usable: torch.Tensor) -> torch.Tensor:
        """(B,) which of the marks (B,) of usable rows come for the first time; they are noted."""
        again = torch.isin(marks, self.counted[:-1])
        again |= (marks[:, None] == marks).tril(-1).any(1)
        new = usable & ~again
        places = (self.written + new.cumsum(0) - 1) % self.memory
        self.counted.index_copy_(0, torch.where(new, places, self.memory), marks * new)
        self.written.add_(new.sum())
        return new

    @torch.no_grad()
    def refit(self) -> None:
        """Say what the rows so far mean."""
        inputs = self.width + self.actions + 1
        pooled = self.moments.sum(0)
        count = pooled[inputs - 1, inputs - 1].clamp(min=1e-9)
        found = self.moments + self.prior * pooled / count
        seen, both, told = found[:, :inputs, :inputs], found[:, :inputs, inputs:], found
        ridge = _UNKNOWN * torch.diagonal(seen, dim1=-2, dim2=-1) + 1e-9
        weight = torch.linalg.solve(seen + torch.diag_embed(ridge), both)
        rows = found[:, inputs - 1, inputs - 1].clamp(min=1e-9)[:, None]
        squares = torch.diagonal(told, dim1=-2, dim2=-1)[:, inputs:]
        explained = (2 * both - seen @ weight).mul(weight).sum(1)
        self.weight.copy_(weight)
        self.deviation.copy_(((squares - explained) / rows).clamp(min=0).sqrt())

    def step(
        self,
        x: torch.Tensor,
        action: torch.Tensor,
        clock: torch.Tensor,
        noise: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, N), (B, A) at times (B,) -> (B, N): the mean, or drawn by normal noise (B, N)."""
        time = self._time(clock)
        inputs = torch.cat([x, action, torch.ones_like(x[:, :1])], -1)
        change = (inputs[:, None] @ self.weight[time])[:, 0]
        if noise is not None:
            change = change + noise * self.deviation[time]
        return x + change

    def start(self) -> torch.Tensor:
        """(N,) mean of the observations at time 0."""
        row = self.moments[0, self.width + self.actions]
        count = row[self.width + self.actions].clamp(min=1e-9)
        return (row[: self.width] / count).to(self.weight.dtype)

    def matrices(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(T, N, N + A) and (T, N): x' = F [x, a] + c."""
        rows = self.weight.transpose(1, 2)
        slopes = rows[..., :-1].clone()
        slopes[..., : self.width] += torch.eye(self.width, device=rows.device)
        return slopes, rows[..., -1]

    def _time(self, clock: torch.Tensor) -> torch.Tensor:
        return clock.long().clamp(0, self.steps - 1)


def _checksum(rows: torch.Tensor) -> torch.Tensor:
    """(B,) of the bits of (B, n) numbers; of other rows it is another, but for one in 2^40 or so.

    What overflows is left out, as is usual for checksums.
    """
    bits = rows.float().view(torch.int32).long()
    return (bits * torch.full_like(bits[0], _MIX).cumprod(0)).sum(-1)
