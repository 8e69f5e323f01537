"""Batches for the demands of agents: windows and on-policy rollouts; `transitions` has the others.

Samplers draw from a `ReplayView` that their owner refreshes; the same seed, view and calls give the
same batches. `state()` is JSON and `restore()` goes on from it on an equal view.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_client.schema import (
    ACTION,
    EXTRA_PREFIX,
    IS_FIRST,
    IS_LAST,
    NO_POLICY,
    POLICY_VERSION,
    SOURCE,
    Json,
    Source,
)
from server.replay.view import Episode, ReplayView, Rows

FRESH_WINDOWS = 1024  # windows that may wait; the oldest make room, they are no longer fresh


Batch = dict[str, Any]  # arrays, or tensors where the rows' numbers are on a device


class Numbers(Protocol):
    """Where the numbers of a view's rows are: in the view itself, or mirrored on a device."""

    def gather(self, rows: Rows, names: Sequence[str]) -> Batch:
        """Columns of rows in view, copied: `rows` of any shape (...) gives (..., *shape)."""
        ...

    def place(self, array: NDArray[Any]) -> Any:
        """An array where those of `gather` are."""
        ...


class SequenceSampler:
    """Windows of consecutive rows: (B, T) batches as `agents.agent.Sequences` describes them.

    Think of all episodes in random order, one after the other, without end: a uniform window is cut
    out of that stream at a random place. It begins at a row drawn uniformly from all rows; where
    its episode's data end, it goes on at the first row of an episode drawn uniformly. Thereby every
    row is equally likely at every place of a window: the ends of episodes are not under-sampled,
    and no row is padding.

    With `online`, rows that come after the sampler was made are also served once, soon, as windows
    of T consecutive rows of their robot. These are at most half of a batch (one of a batch of one);
    the rest is uniform. At most FRESH_WINDOWS wait.

    Args:
        context_names: extras of the view to serve as `context/<name>`. Without any, a window has
            its context wherever a row goes before it.
        numbers: where batches are put together; None for the view.
    """

    def __init__(
        self,
        view: ReplayView,
        batch: int,
        length: int,
        context_names: Sequence[str],
        rng: np.random.Generator,
        online: bool = True,
        numbers: Numbers | None = None,
    ) -> None:
        self._numbers = view if numbers is None else numbers
        self._view, self._batch, self._length, self._rng = view, batch, length, rng
        self._context = tuple(context_names)
        self._fresh = _FreshWindows(view, length, view.head, lambda e: e.withheld)
        self._most_fresh = max(1, batch // 2) if online else 0

    def sample(self) -> Batch | None:
        """The next batch; None while fewer than T rows may be drawn."""
        if self._view.drawable < self._length:
            return None
        self._fresh.update()
        windows: list[list[int]] = []
        while len(windows) < self._most_fresh and (window := self._fresh.pop()):
            windows.append(window)
        windows += [self._uniform() for _ in range(self._batch - len(windows))]
        rows = np.array(windows, np.int64)
        return assemble(self._view, self._numbers, rows, self._view.columns, self._context)

    def state(self) -> Json:
        """Random state and fresh windows, as JSON types."""
        return {"rng": self._rng.bit_generator.state, "fresh": self._fresh.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        self._rng.bit_generator.state = state["rng"]
        self._fresh.restore(state["fresh"])

    def _uniform(self) -> list[int]:
        episode, index = self._view.episode_of(self._view.random_row(self._rng))
        window = episode.ids[index : index + self._length].tolist()
        while (missing := self._length - len(window)) > 0:
            episode = self._view.random_episode(self._rng)
            window += episode.ids[episode.start : episode.start + missing].tolist()
        return window


class OnPolicyQueue:
    """Rollouts of T consecutive rows of a robot, oldest first; each row is served once, but for the
    `overlap` that two of them share.

    Served like a window of `SequenceSampler`, without context but with all extras of the view as
    columns `policy/<name>`. A rollout may span episodes; those of evaluations are left out: their
    actions are not drawn from the policy. It is dropped when an action in it was not chosen by a
    policy, or by one more than `max_lag` versions older than the `version` of now.
    """

    def __init__(
        self,
        view: ReplayView,
        batch: int,
        length: int,
        max_lag: int,
        numbers: Numbers | None = None,
        overlap: int = 0,
    ) -> None:
        self._numbers = view if numbers is None else numbers
        self._view, self._batch, self._max_lag = view, batch, max_lag
        self._fresh = _FreshWindows(view, length, 0, lambda e: e.withheld or e.evaluation, overlap)
        self.version = 0  # of the policy that was published last; its owner keeps it current
        self.dropped = 0  # rollouts so far

    def sample(self) -> Batch | None:
        """The next batch; None while fewer than B usable rollouts are waiting."""
        self._fresh.update()
        waiting = self._fresh.queue
        usable = [window for window in waiting if self._usable(window)]
        self.dropped += len(waiting) - len(usable)
        ready = len(usable) >= self._batch
        self._fresh.queue = deque(usable[self._batch :] if ready else usable, FRESH_WINDOWS)
        if not ready:
            return None
        rows = np.array(usable[: self._batch], np.int64)
        names = [*self._view.columns, *self._view.extras]
        return assemble(self._view, self._numbers, rows, names, ())

    def state(self) -> Json:
        """Rollouts that are waiting, as JSON types."""
        return {
            "version": self.version,
            "dropped": self.dropped,
            "fresh": self._fresh.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        self.version, self.dropped = int(state["version"]), int(state["dropped"])
        self._fresh.restore(state["fresh"])

    def _usable(self, window: list[int]) -> bool:
        if min(window) < self._view.tail or self._view.hides(window):
            return False
        found = self._view.gather(np.array(window), [POLICY_VERSION, SOURCE, IS_LAST])
        acted = ~found[IS_LAST]  # no action belongs to the last row of an episode
        versions, sources = found[POLICY_VERSION][acted], found[SOURCE][acted]
        oldest = max(self.version - self._max_lag, NO_POLICY + 1)
        return bool((versions >= oldest).all() and (sources == Source.POLICY).all())


def assemble(
    view: ReplayView,
    numbers: Numbers,
    rows: Rows,
    columns: Sequence[str],
    context: Sequence[str],
) -> Batch:
    """The batch of windows `rows` (B, T): columns, flags where segments meet, and what goes before.

    Returns `columns` (B, T, ...), `row_id` (B, T) on the host, `prev_action` (B, ...) and, per name
    of `context`, `context/<name>` (B, ...). Raises KeyError for a context that the view does not
    hold.
    """
    batch = numbers.gather(rows, columns)
    begins = ~view.follows(rows)
    batch[IS_LAST][:, :-1] |= numbers.place(begins[:, 1:])
    previous = view.before(rows[:, 0])
    known = previous >= 0
    source = np.where(known, previous, rows[:, 0])  # any row in view: masked below
    found = numbers.gather(source, [ACTION, *(EXTRA_PREFIX + name for name in context)])
    batch["prev_action"] = _masked(found.pop(ACTION), numbers.place(~known))
    if context:
        known = known & view.has_extras(source)
    begins[:, 0] = ~known
    batch[IS_FIRST] |= numbers.place(begins)
    unknown = numbers.place(~known)
    for name in context:
        batch[f"context/{name}"] = _masked(found[EXTRA_PREFIX + name], unknown)
    return batch | {"row_id": rows}


class _FreshWindows:
    """Cuts what comes in from each robot into windows of T consecutive rows, in order.

    Episodes that `leaves_out` are passed over. A window begins with the last `overlap` rows of the
    one before.
    """

    def __init__(
        self,
        view: ReplayView,
        length: int,
        cursor: int,
        leaves_out: Callable[[Episode], bool],
        overlap: int = 0,
    ) -> None:
        self._view, self._length, self._cursor = view, length, cursor
        self._leaves_out, self._advance = leaves_out, length - overlap
        self._begun: dict[tuple[str, str], list[int]] = {}
        self.queue: deque[list[int]] = deque(maxlen=FRESH_WINDOWS)

    def update(self) -> None:
        """Take in the rows that the view has indexed since."""
        for span in self._view.spans(self._cursor):
            if self._is_left_out(span.first):
                continue
            begun = self._begun.setdefault(span.stream, [])
            begun.extend(range(span.first, span.first + span.rows))
            while len(begun) >= self._length:
                self.queue.append(begun[: self._length])
                del begun[: self._advance]
        self._cursor = self._view.head

    def _is_left_out(self, row: int) -> bool:
        return row >= self._view.tail and self._leaves_out(self._view.episode_of(row)[0])

    def pop(self) -> list[int] | None:
        """The oldest window that is still in view, and of which no episode was discarded."""
        while self.queue:
            window = self.queue.popleft()
            if min(window) >= self._view.tail and not self._view.hides(window):
                return window
        return None

    def state(self) -> Json:
        begun = [[*stream, ids] for stream, ids in self._begun.items() if ids]
        return {"cursor": self._cursor, "begun": begun, "queue": list(self.queue)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._cursor = int(state["cursor"])
        self._begun = {(robot, epoch): list(ids) for robot, epoch, ids in state["begun"]}
        self.queue = deque((list(window) for window in state["queue"]), FRESH_WINDOWS)


def _masked(values: Any, unknown: Any) -> Any:
    """Zeros where not known."""
    values[unknown] = 0
    return values
