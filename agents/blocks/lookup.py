"""Tables that learn by gradients, in the place of networks, where there are few things to see.

Adam is for networks: of a table, a batch touches a few rows, and the moments of all the others go
on moving them. Here only rows that were visited move, and each by the mean of its visits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.agent import Tensors
from agents.blocks.cells import Cells
from agents.errors import UnsupportedSpace

MAX_ROWS = 2**22


class Lookup(nn.Module):
    """Observations (B, ...) and one of K choices, one-hot (B, K) -> (B, n) numbers, 0 at first.

    There is a row for each pair of a cell and a choice, and of each cell for no choice at all.

    Raises:
        UnsupportedSpace: more than MAX_ROWS rows.
    """

    def __init__(self, cells: Cells, choices: int, n: int) -> None:
        super().__init__()
        rows = cells.n * (choices + 1)
        if rows > MAX_ROWS:
            raise UnsupportedSpace("observation", f"at most {MAX_ROWS} rows of a table", str(rows))
        self.cells = cells
        self.rows = nn.Parameter(torch.zeros(rows, n))

    def place(self, obs: Tensors, choice: torch.Tensor) -> torch.Tensor:
        """(B,) int64, which row."""
        number = F.pad(choice, (1, 0), value=0.5).argmax(-1)  # 0 for none
        found: torch.Tensor = number * self.cells.n + self.cells(obs)
        return found

    def forward(self, obs: Tensors, choice: torch.Tensor) -> torch.Tensor:
        """(B, n)."""
        return self.rows[self.place(obs, choice)]


def shares(place: torch.Tensor) -> torch.Tensor:
    """(B,) how much each visit of places (B,) counts: all visits of a place together count 1."""
    return 1 / (place[:, None] == place).sum(-1)


class Descent(torch.optim.Optimizer):
    """Parameters move against their gradients, and it remembers nothing.

    Args:
        params: what to optimise; every one must have a gradient at each step.
        lr: learning rate.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(params, {"lr": lr})
        self.lr = lr
        self._params: list[torch.Tensor] = self.param_groups[0]["params"]

    @torch.no_grad()
    def step(self, closure: None = None) -> torch.Tensor:  # type: ignore[override]
        """One update; returns the () norm of the gradient."""
        grads: list[torch.Tensor] = [p.grad for p in self._params]  # type: ignore[misc]
        torch._foreach_add_(self._params, grads, alpha=-self.lr)
        norm: torch.Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Nothing to load; raises ValueError when there is something."""
        if state_dict:
            raise ValueError("this optimiser state belongs to another kind of optimiser")
