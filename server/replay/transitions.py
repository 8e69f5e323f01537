"""Batches of single rows with their n-step successors, drawn uniformly or by priority."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.schema import (
    ACTION,
    ACTION_REQUESTED,
    IS_TERMINAL,
    REWARD,
    STEP_DTYPES,
    Json,
)
from server.replay.priorities import Priorities
from server.replay.sampler import Batch, Numbers
from server.replay.view import ReplayView, Rows

NOT_OBSERVED = frozenset({*STEP_DTYPES, ACTION, ACTION_REQUESTED})


class TransitionSampler:
    """Rows with their n-step successors, as `agents.agent.Transitions` describes them.

    Successors never leave the episode: near its end, or the end of its data so far, the return
    spans fewer steps and `discount` has the smaller power. A time limit or a cut keeps `discount`
    above zero and the successor is the true last observation; a terminal row makes it zero.

    Args:
        priority: exponent of the rows' priorities; 0 draws uniformly.
        numbers: where batches are put together; None for the view.
    """

    def __init__(
        self,
        view: ReplayView,
        batch: int,
        n_step: int,
        discount: float,
        rng: np.random.Generator,
        numbers: Numbers | None = None,
        priority: float = 0.0,
    ) -> None:
        assert n_step >= 1, n_step
        self._numbers = view if numbers is None else numbers
        self._view, self._batch, self._n_step, self._rng = view, batch, n_step, rng
        self._powers = np.power(discount, np.arange(n_step + 1))
        self._priorities = Priorities(view, priority) if priority else None

    def sample(self) -> Batch | None:
        """The next batch; None while fewer than B rows have a successor."""
        view = self._view
        if view.drawable - view.episode_count < self._batch:  # each episode's newest row has none
            return None
        if self._priorities is None:
            return self._assemble(self._uniform())
        rows, chance = self._priorities.draw(self._batch, self._rng)
        return self._assemble(rows) | {"chance": self._numbers.place(chance)}

    def prioritise(self, rows: Rows, priority: NDArray[Any]) -> None:
        """Note the (B,) priorities that an update has found for (B,) rows."""
        if self._priorities is not None:
            self._priorities.update(rows, priority)

    def state(self) -> Json:
        """Random state and priorities, as JSON types."""
        known = {} if self._priorities is None else {"priorities": self._priorities.state()}
        return {"rng": self._rng.bit_generator.state, **known}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`. Priorities that were not kept are as those of new rows."""
        self._rng.bit_generator.state = state["rng"]
        if self._priorities is not None and "priorities" in state:
            self._priorities.restore(state["priorities"])

    def _uniform(self) -> Rows:
        """(B,) of the rows that have a successor, all equally likely."""
        view = self._view
        found = np.empty(0, np.int64)
        while len(found) < self._batch:
            rows = self._rng.integers(view.tail, view.head, self._batch)
            usable = (view.after(rows) >= 0) & ~view.hidden(rows)
            found = np.append(found, rows[usable])
        return found[: self._batch]

    def _assemble(self, rows: Rows) -> Batch:
        view, numbers = self._view, self._numbers
        path, steps = self._follow(rows)
        ends = path[:, -1]
        names = view.columns
        batch = numbers.gather(rows, [*names, *view.extras])
        after = numbers.gather(ends, [n for n in names if n not in NOT_OBSERVED])
        rewards = view.gather(path[:, 1:], [REWARD])[REWARD]
        ended = view.gather(ends, [IS_TERMINAL])[IS_TERMINAL]
        batch |= self._values(rewards, steps, ended)
        return batch | {f"next/{name}": value for name, value in after.items()} | {"row_id": rows}

    def _values(self, rewards: NDArray[Any], steps: Rows, ended: NDArray[np.bool_]) -> Batch:
        """`return` and `discount` of (B, n) rewards, of which the first (B,) `steps` count."""
        counted = np.arange(self._n_step) < steps[:, None]
        returns = (rewards.astype(np.float64) * counted * self._powers[:-1]).sum(1)
        discount = self._powers[steps] * ~ended
        found = {"return": returns, "discount": discount}
        return {k: self._numbers.place(v.astype(np.float32)) for k, v in found.items()}

    def _follow(self, rows: Rows) -> tuple[Rows, Rows]:
        """(B, n + 1) rows, the last one repeated where the episode ends, and (B,) true steps."""
        path = np.empty((len(rows), self._n_step + 1), np.int64)
        path[:, 0] = rows
        steps = np.zeros(len(rows), np.int64)
        for k in range(self._n_step):
            after = self._view.after(path[:, k])
            path[:, k + 1] = np.where(after >= 0, after, path[:, k])
            steps += after >= 0
        return path, steps
