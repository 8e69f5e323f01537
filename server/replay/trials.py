"""Windows, and what whole episodes came to."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.schema import (
    EXTRA_PREFIX,
    IS_FIRST,
    IS_LAST,
    NO_POLICY,
    POLICY_VERSION,
    REWARD,
    SOURCE,
    Json,
    Source,
)
from server.replay.sampler import Batch, SequenceSampler
from server.replay.view import Episode


class TrialSampler(SequenceSampler):
    """Serves both as `agents.agent.Trials` describes them.

    Episodes of evaluations, those that were cut, discarded or withheld, and those in which anybody
    but a policy acted are not told. One that has partly fallen out of view is forgotten.

    Args:
        trials: told at a time, at most.
    """

    def __init__(self, *args: Any, trials: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self._trials = trials
        self._running: list[int] = []  # first rows of episodes that have not ended
        self._ended: deque[int] = deque()
        self._known = 0  # rows before it have been looked at

    def sample(self) -> Batch | None:
        """The next batch; None while fewer than T rows may be drawn."""
        batch = super().sample()
        if batch is None:
            return None
        self._take_in()
        told: list[NDArray[np.int64]] = []
        while self._ended and len(told) < self._trials:
            rows = self._fair(self._ended.popleft())
            told += [] if rows is None else [rows]
        return batch | self._told(told)

    def state(self) -> Json:
        """Also of what waits, as JSON types."""
        waiting = {"running": self._running, "ended": list(self._ended), "known": self._known}
        return {**super().state(), "trials": waiting}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        super().restore(state)
        waiting = state["trials"]
        self._running, self._ended = list(waiting["running"]), deque(waiting["ended"])
        self._known = int(waiting["known"])

    def _take_in(self) -> None:
        """Note which episodes have begun and which have ended since."""
        view = self._view
        spans = view.spans(max(self._known, view.tail))
        begun = [s.first for s in spans if view.episode_of(s.first)[1] == 0]
        self._known = view.head
        running, self._running = self._running + begun, []
        for first in running:
            episode = self._episode(first)
            if episode is not None:
                (self._ended if episode.closed else self._running).append(first)

    def _episode(self, first: int) -> Episode | None:
        """That which began with a row, if it is still in view whole."""
        return self._view.episode_of(first)[0] if first >= self._view.tail else None

    def _fair(self, first: int) -> NDArray[np.int64] | None:
        """The rows of an episode, if it is to be told."""
        episode = self._episode(first)
        if episode is None or episode.hidden or episode.evaluation or episode.cut:
            return None
        rows = np.array(episode.ids, np.int64)
        found = self._view.gather(rows, [SOURCE, POLICY_VERSION, IS_LAST, IS_FIRST])
        if not found[IS_FIRST][0]:  # its beginning came too late, or is gone
            return None
        acted = ~found[IS_LAST]  # no action belongs to the last row
        chosen = (found[SOURCE] == Source.POLICY) & (found[POLICY_VERSION] != NO_POLICY)
        return rows if len(rows) > 1 and chosen[acted].all() else None

    def _told(self, episodes: list[NDArray[np.int64]]) -> Batch:
        """`trial/...` of as many episodes as may be told, zeros where there are fewer."""
        view, blank = self._view, self._trials - len(episodes)
        returns = [view.gather(rows, [REWARD])[REWARD].sum(dtype=np.float64) for rows in episodes]
        first = np.array([rows[0] for rows in episodes], np.int64)
        found: Batch = {
            "return": np.array(returns, np.float32),
            "steps": np.array([len(rows) - 1 for rows in episodes], np.int64),
            **{
                name.removeprefix(EXTRA_PREFIX): array
                for name, array in view.gather(first, view.extras).items()
            },
        }
        padded = {
            name: np.concatenate([array, np.zeros((blank, *array.shape[1:]), array.dtype)])
            for name, array in found.items()
        }
        return {f"trial/{name}": self._numbers.place(array) for name, array in padded.items()}
