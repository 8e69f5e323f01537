"""Rows that an agent has made up, the newest of them, on the device."""

from __future__ import annotations

import torch
from torch import nn


class Ring(nn.Module):
    """The newest `capacity` rows of `width` numbers. Nothing waits for the device."""

    rows: torch.Tensor
    written: torch.Tensor

    def __init__(self, capacity: int, width: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.register_buffer("rows", torch.zeros(capacity, width))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def write(self, rows: torch.Tensor) -> None:
        """Add (B, width), at most as many as fit, in place of the oldest."""
        places = (self.written + torch.arange(len(rows), device=rows.device)) % self.capacity
        self.rows.index_copy_(0, places, rows)
        self.written.add_(len(rows))

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """(count, width), uniformly; zeros while there is none."""
        uniform = torch.rand(count, generator=generator, device=self.rows.device)
        filled = self.written.clamp(1, self.capacity)
        return self.rows[(uniform * filled).long().clamp(max=self.capacity - 1)]
