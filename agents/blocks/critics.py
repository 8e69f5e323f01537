"""Critics of actions: what follows an action in what was observed."""

from __future__ import annotations

import torch
from gymnasium import spaces
from torch import nn

from agents.blocks.observe import Features
from agents.blocks.stacks import Members
from agents.blocks.values import Head


class Critic(nn.Module):
    """Features and actions in -1..1 -> raw values; several members share the features.

    Args:
        seen: the observations.
        actions: A.
        widths: of the hidden layers.
        head: makes numbers of raw values.
        members: E.
    """

    def __init__(
        self,
        seen: spaces.Dict,
        actions: int,
        widths: tuple[int, ...],
        head: Head,
        members: int = 1,
    ) -> None:
        super().__init__()
        self.features, self.head = Features(seen), head
        self.members = Members(members, self.features.width + actions, widths, head.width)

    def forward(self, x: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """(B, F), (B, A) -> (E, B, width)."""
        raw: torch.Tensor = self.members(torch.cat([x, action], -1))
        return raw
