"""Which task a network's row belongs to, of those that it has met, or those it was made for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from agents.agent import Tensors
from robot_client.schema import TASK_NUMBERS, task_code


class TaskBook(nn.Module):
    """The codes of up to K tasks, in the order in which they came. It travels with the weights.

    See `robot_client.schema.task_code`. Tasks that come when it is full stay unknown.
    """

    known: torch.Tensor
    count: torch.Tensor

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.register_buffer("known", torch.zeros(tasks, TASK_NUMBERS))
        self.register_buffer("count", torch.zeros(1))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(B, TASK_NUMBERS) -> (B, K) one-hot; all zeros for a task that is not known, or none."""
        same = (self.known == codes[:, None]).all(-1)
        return (same & _named(codes)[:, None]).float()

    @torch.no_grad()
    def take_in(self, codes: torch.Tensor) -> None:
        """Note the first task of (B, TASK_NUMBERS) that is not known yet, if there is room.

        One at a time, and without a look at the numbers: a GPU need not be waited for.
        """
        new = _named(codes) & (self(codes).sum(-1) == 0)
        first = codes[new.float().argmax()]
        place = torch.arange(len(self.known), device=codes.device) == self.count
        self.known.copy_(torch.where((place & new.any())[:, None], first, self.known))
        self.count += (place & new.any()).sum()

    def metrics(self) -> Tensors:
        """How many tasks it knows."""
        return {"tasks": self.count[0].clone()}


class TaskList(nn.Module):
    """Codes (B, TASK_NUMBERS) -> (B, K) one-hot, of the tasks with these names, K of them.

    A task that is none of them counts as the one without a name; where there is none, as the first.
    """

    known: torch.Tensor
    other: torch.Tensor

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        codes = torch.stack([torch.from_numpy(task_code(name).copy()) for name in names])
        place = names.index("") if "" in names else 0
        self.register_buffer("known", codes)
        self.register_buffer("other", (torch.arange(len(names)) == place).float())

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """See the class."""
        same = (self.known == codes[:, None]).all(-1)
        return torch.where(same.any(-1, keepdim=True), same.float(), self.other)


def _named(codes: torch.Tensor) -> torch.Tensor:
    """(B,) whether there is a name at all."""
    return (codes != 0).any(-1)
