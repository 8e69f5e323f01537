"""Transitions in the order in which they came, each of them once."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from robot_client.schema import Json
from server.replay.sampler import Batch
from server.replay.transitions import TransitionSampler


class ArrivalSampler(TransitionSampler):
    """Serves what comes, as `agents.agent.Arrivals` describes it.

    A row waits for its successor; one that never gets any, an episode's last, is not served.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ready: deque[int] = deque()
        self._alone: list[int] = []  # rows without a successor so far
        self._cursor = 0  # rows before it are known

    def sample(self) -> Batch | None:
        """The next batch; None while fewer than B transitions wait."""
        self._take_in()
        if len(self._ready) < self._batch:
            return None
        return self._assemble(np.array([self._ready.popleft() for _ in range(self._batch)]))

    def state(self) -> Json:
        """What waits, as JSON types."""
        waiting = {"ready": list(self._ready), "alone": self._alone, "cursor": self._cursor}
        return {**super().state(), **waiting}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        super().restore(state)
        self._ready, self._alone = deque(state["ready"]), list(state["alone"])
        self._cursor = int(state["cursor"])

    def _take_in(self) -> None:
        """Note what has come since, and forget what has fallen out of view or was discarded."""
        view = self._view
        tail = view.tail
        rows = [*self._alone, *range(max(self._cursor, tail), view.head)]
        self._cursor = view.head
        found = np.array([row for row in rows if row >= tail and not view.hides((row,))], np.int64)
        followed = view.after(found) >= 0 if len(found) else np.zeros(0, np.bool_)
        self._alone = [row for row in found[~followed].tolist() if self._may_go_on(row)]
        while self._ready and (self._ready[0] < tail or view.hides((self._ready[0],))):
            self._ready.popleft()
        self._ready.extend(found[followed].tolist())

    def _may_go_on(self, row: int) -> bool:
        return not self._view.episode_of(row)[0].closed
