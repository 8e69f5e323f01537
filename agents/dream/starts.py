"""Where dreams begin: the first codes of episodes that were seen."""

from __future__ import annotations

import torch
from torch import nn

_KEPT = 1024


class Starts(nn.Module):
    """The newest senses (S,) of rows that began an episode."""

    senses: torch.Tensor
    count: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("senses", torch.zeros(_KEPT, width))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def add(self, senses: torch.Tensor, first: torch.Tensor) -> None:
        """Keep those of (B, T, S) that are `first` (B, T)."""
        found = senses[first]
        places = (self.count + torch.arange(len(found), device=found.device)) % _KEPT
        self.senses[places] = found
        self.count += len(found)

    def draw(self, episodes: int, generator: torch.Generator) -> torch.Tensor:
        """(E, S) of those kept; before there are any, as V's code is before it has seen any."""
        known, device = min(int(self.count), _KEPT), self.senses.device
        if not known:
            shape = (episodes, self.senses.shape[1])
            return torch.randn(shape, generator=generator, device=device)
        return self.senses[torch.randint(known, (episodes,), generator=generator, device=device)]
