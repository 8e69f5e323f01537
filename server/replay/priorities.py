"""Which rows are worth replaying (Schaul et al. 2016, "Prioritized experience replay")."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.schema import IS_LAST, Json
from server.replay.view import ReplayView, Rows

_FAN = 32  # children of a node: few levels, each a few calls on small arrays
_FLOOR = 1e-6  # of a priority, so that no row is lost for ever


class SumTree:
    """Non-negative numbers by index, and draws in proportion to them. Sums are never stale.

    Args:
        size: how many numbers there are, all zero at first.
    """

    def __init__(self, size: int) -> None:
        self._levels = [np.zeros(_padded(size))]  # leaves first, one root last
        while len(self._levels[-1]) > _FAN:
            self._levels.append(np.zeros(_padded(len(self._levels[-1]) // _FAN)))

    @property
    def total(self) -> float:
        """Sum of all numbers."""
        return float(self._levels[-1].sum())

    def __getitem__(self, at: Rows) -> NDArray[np.float64]:
        """The numbers at indices (K,)."""
        return self._levels[0][at]

    def set(self, at: Rows, values: NDArray[Any] | float) -> None:
        """Replace the numbers at indices (K,); of an index that is there twice the last counts."""
        self._levels[0][at] = values
        for below, level in zip(self._levels, self._levels[1:], strict=False):
            at = at // _FAN
            level[at] = below.reshape(-1, _FAN)[at].sum(1)

    def draw(self, shares: NDArray[np.float64]) -> Rows:
        """The indices (K,) at which the running sum passes these shares, in 0..1, of the total."""
        at = np.zeros(len(shares), np.int64)
        rest = shares * self.total
        for level in reversed(self._levels):
            children = level.reshape(-1, _FAN)[at]
            sums = children.cumsum(1)
            # Rounding may leave a rest beyond the last child that is not zero: that one, then.
            child = np.minimum((sums <= rest[:, None]).sum(1), _last_filled(children))
            before = sums[np.arange(len(at)), child] - children[np.arange(len(at)), child]
            rest = rest - before
            at = at * _FAN + child
        return at


class Priorities:
    """Draws rows of a view that have a successor, row i with chance p_i^omega / sum of p^omega.

    A row that is new has the highest priority so far. What is drawn changes with `update`.

    Args:
        view: refreshed by its owner.
        exponent: omega, 0 to 1.
    """

    def __init__(self, view: ReplayView, exponent: float) -> None:
        self._view, self._exponent = view, exponent
        self._tree = SumTree(view.capacity)
        self._highest = 1.0  # of the powers
        self._known = view.tail  # row id after the newest that was looked at
        self._oldest = view.tail
        self._waiting = np.empty(0, np.int64)  # newest rows of episodes that may go on
        self._rows = 0  # with a priority

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Rows, NDArray[np.float32]]:
        """(K,) rows and (K,) how many times likelier than under uniform each was drawn."""
        self._look()
        found = np.empty(0, np.int64)
        while len(found) < count:
            # One from each of K equal parts of the sum: less noise than K independent draws.
            shares = (np.arange(count) + rng.random(count)) / count
            rows = self._row_at(self._tree.draw(shares))
            found = np.append(found, rows[~self._view.hidden(rows)])
        rows = found[:count]
        chance = self._tree[rows % self._view.capacity] / self._tree.total
        return rows, (chance * self._rows).astype(np.float32)

    def update(self, rows: Rows, priority: NDArray[Any]) -> None:
        """Set the (K,) priorities, at least 0, of (K,) rows; those gone by are left out."""
        self._look()
        held = self._view.holds(rows) & np.isfinite(priority)
        powers = np.maximum(priority[held], _FLOOR).astype(np.float64) ** self._exponent
        powers = powers.astype(np.float32)  # as they are kept
        self._tree.set(rows[held] % self._view.capacity, powers)
        self._highest = max(self._highest, float(powers.max(initial=0)))

    def state(self) -> Json:
        """Everything that `restore` needs, as JSON types; four bytes a row in base64."""
        rows = np.arange(self._oldest, self._known)
        powers = self._tree[rows % self._view.capacity].astype("<f4")
        return {
            "highest": self._highest,
            "first": int(self._oldest),
            "waiting": self._waiting.tolist(),
            "powers": base64.b64encode(powers.tobytes()).decode(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()` on a view that holds the same rows, or newer ones."""
        powers = np.frombuffer(base64.b64decode(state["powers"]), "<f4")
        rows = np.arange(int(state["first"]), int(state["first"]) + len(powers))
        self._tree = SumTree(self._view.capacity)
        self._highest = float(state["highest"])
        held = self._view.holds(rows)
        self._tree.set(rows[held] % self._view.capacity, powers[held])
        self._rows = int(np.count_nonzero(powers[held]))
        self._oldest = self._view.tail
        self._known = max(int(state["first"]) + len(powers), self._view.tail)
        self._waiting = np.array(state["waiting"], np.int64)

    def _look(self) -> None:
        """Take in the rows that have come, and leave out those that fell out of the view."""
        view = self._view
        gone = np.arange(self._oldest, min(view.tail, self._known)) % view.capacity
        self._rows -= int(np.count_nonzero(self._tree[gone]))
        self._tree.set(gone, 0.0)
        self._oldest = view.tail
        new = np.append(self._waiting, np.arange(max(self._known, view.tail), view.head))
        new = new[new >= view.tail]
        self._known = view.head
        ready = view.after(new) >= 0
        self._tree.set(new[ready] % view.capacity, self._highest)
        self._rows += int(ready.sum())
        rest = new[~ready]
        self._waiting = rest[~view.gather(rest, [IS_LAST])[IS_LAST]] if len(rest) else rest

    def _row_at(self, slots: Rows) -> Rows:
        """The row in view that has each slot of the ring."""
        tail, capacity = self._view.tail, self._view.capacity
        return tail + (slots - tail) % capacity


def _padded(size: int) -> int:
    return -(-size // _FAN) * _FAN


def _last_filled(children: NDArray[np.float64]) -> NDArray[np.int64]:
    """(K,) the last of (K, _FAN) children that is not zero."""
    found: NDArray[np.int64] = _FAN - 1 - (children[:, ::-1] > 0).argmax(1)
    return found
