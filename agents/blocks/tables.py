"""What is known of a small world, pair of state and action by pair: what follows, and how often."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Numbers = NDArray[np.float32]
Whole = NDArray[np.int64]


class TableModel(nn.Module):
    """Outcomes of P pairs (reward, next state, discount of what is there), on the CPU.

    With one outcome a pair the last one counts, which is Dyna-Q's deterministic model. With more,
    they count as often as they were seen; the rarest makes room for a new one.

    Args:
        pairs: P.
        outcomes: K, of each pair.
    """

    def __init__(self, pairs: int, outcomes: int) -> None:
        super().__init__()
        self.outcomes = outcomes
        shape = (pairs, outcomes)
        self.following: Whole = self._keep("following", torch.zeros(shape, dtype=torch.int64))
        self.reward: Numbers = self._keep("reward", torch.zeros(shape))
        self.discount: Numbers = self._keep("discount", torch.zeros(shape))
        self.count: Numbers = self._keep("count", torch.zeros(shape))
        self.tried: Whole = self._keep("tried", torch.zeros(pairs, dtype=torch.int64))
        self.listed: Whole = self._keep("listed", torch.zeros(pairs, dtype=torch.int64))
        self.known: NDArray[np.bool_] = self._keep("known", torch.zeros(pairs, dtype=torch.bool))
        self.numbers: Whole = self._keep("numbers", torch.zeros(2, dtype=torch.int64))

    def _keep(self, name: str, tensor: torch.Tensor) -> Any:
        """A buffer of the module, to be worked on as an array that shares its memory."""
        self.register_buffer(f"_{name}", tensor)
        return tensor.numpy()

    @property
    def size(self) -> int:
        """How many pairs it knows."""
        return int(self.numbers[0])

    @property
    def time(self) -> int:
        """How many transitions it has seen."""
        return int(self.numbers[1])

    def pair(self, index: int) -> int:
        """The known pair of this number, in 0..size."""
        return int(self.listed[index])

    def learn(self, pair: int, reward: float, following: int, discount: float) -> None:
        """A transition has been seen."""
        self.numbers[1] += 1
        self.tried[pair] = self.time
        slot, old = self._slot(pair, following, discount)
        count = 1 + (self.count[pair, slot] if old and self.outcomes > 1 else 0)
        mean = self.reward[pair, slot] if count > 1 else 0.0
        self.reward[pair, slot] = mean + (reward - mean) / count
        self.following[pair, slot], self.discount[pair, slot] = following, discount
        self.count[pair, slot] = count
        self._list(pair)

    def assume(self, pair: int, following: int, discount: float) -> None:
        """What follows an untried pair, with no reward, until it is tried."""
        if not self.known[pair]:
            self.following[pair, 0], self.discount[pair, 0] = following, discount
            self._list(pair)

    def expected(self, pair: int, best: Numbers) -> float:
        """Reward and what comes after it, by the value of the best action (S,) of each state."""
        count = self.count[pair]
        values = self.reward[pair] + self.discount[pair] * best[self.following[pair]]
        total = count.sum()
        return float(count @ values / total if total else values[0])

    def before(self, state: int) -> list[int]:
        """The pairs that have led to a state."""
        leads = (self.following == state) & (self.count > 0)
        return [int(pair) for pair in np.flatnonzero(leads.any(1))]

    def _slot(self, pair: int, following: int, discount: float) -> tuple[int, bool]:
        count = self.count[pair]
        same = (count > 0) & (self.following[pair] == following)
        same &= self.discount[pair] == np.float32(discount)
        old = bool(same.any())
        return int(same.argmax() if old else count.argmin()), old

    def _list(self, pair: int) -> None:
        if not self.known[pair]:
            self.known[pair] = True
            self.listed[self.size] = pair
            self.numbers[0] += 1
