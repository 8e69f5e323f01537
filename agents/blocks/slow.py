"""What the critic's targets come from: the critic itself, or a copy that follows it.

All are asked with the live critic and the features, and told after each update (a copy that moved
before the backward pass would spoil the gradient of the features). No gradient
reaches a parameter through them; it does reach the features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from agents.blocks.normalize import slow_copy, slow_update_


class SlowCritic(nn.Module):
    """A copy of the critic `source`, kept as a network of its own, `net`."""

    net: Any

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.net = slow_copy(source)

    def forward(self, source: nn.Module, features: torch.Tensor) -> Any:
        """Features (..., F) -> the distribution that the critic's head yields."""
        return self.net(features)

    def update(self, source: nn.Module) -> None:
        """Follow the critic, after its optimiser has taken a step."""
        raise NotImplementedError


class AveragedCritic(SlowCritic):
    """Moves by the share `rate` towards the critic at each update. (The third Dreamer.)"""

    def __init__(self, source: nn.Module, rate: float = 0.02) -> None:
        super().__init__(source)
        self.rate = rate

    def update(self, source: nn.Module) -> None:
        """Follow the critic, after its optimiser has taken a step."""
        slow_update_(self.net, source, self.rate)


class CopiedCritic(SlowCritic):
    """Becomes the critic after its first update and again every `every` updates. (The second
    Dreamer and DayDreamer.) It counts on the device, where an update may have been captured."""

    updates: torch.Tensor

    def __init__(self, source: nn.Module, every: int = 100) -> None:
        super().__init__(source)
        self.every = every
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, source: nn.Module) -> None:
        """Follow the critic, after its optimiser has taken a step."""
        due = self.updates % self.every == 0
        for own, live in zip(self.net.parameters(), source.parameters(), strict=True):
            own.copy_(torch.where(due, live, own))
        self.updates.add_(1)


class LiveCritic(nn.Module):
    """The critic itself, without gradient for its parameters. (The first Dreamer.)"""

    def forward(self, source: nn.Module, features: torch.Tensor) -> Any:
        """Features (..., F) -> the distribution that the critic's head yields."""
        fixed = {name: p.detach() for name, p in source.named_parameters()}
        return torch.func.functional_call(source, fixed, (features,))

    def update(self, source: nn.Module) -> None:
        """Nothing to follow."""
