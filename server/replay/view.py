"""What a learner sees of the replay store: episodes, columns by row id, and latent context.

Narrow columns of the newest `capacity` rows are held in memory, in rings indexed by row id; wide
ones, such as images, stay on the disk and are copied out of the page cache when they are sampled.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.bundle import TensorSpec
from robot_client.schema import (
    EXTRA_PREFIX,
    IS_LAST,
    MAX_CHUNK_ROWS,
    NO_POLICY,
    POLICY_VERSION,
    Columns,
)
from server.errors import ReplayError
from server.replay.layout import CUT, EVALUATION, WITHHELD, ChunkHeader, Column, Layout
from server.replay.snapshot import Snapshot, Stream
from server.replay.store import ReplayStore

Rows = NDArray[np.int64]
NARROW_BYTES = 512  # per row: a wider column stays on the disk


@dataclass
class Episode:
    """The rows of one episode that are indexed so far, oldest first.

    Args:
        stream: robot and epoch.
        number: number of the episode within the epoch.
        ids: row ids; those before `start` have fallen out of the view.
        closed: nothing follows: it has ended, or another episode has begun in its place.
        task: name of the robot's task then; empty where it is not known.
        hidden: it has been discarded, or is withheld.
        withheld: it is not to be learned from, whatever people say of it.
        evaluation: its actions are the policy's mode.
        cut: somebody or something ended it before its time, or its end got lost.
    """

    stream: tuple[str, str]
    number: int
    task: str = ""
    ids: array[int] = field(default_factory=lambda: array("q"))
    start: int = 0
    closed: bool = False
    hidden: bool = False
    withheld: bool = False
    evaluation: bool = False
    cut: bool = False

    @property
    def key(self) -> tuple[str, str, int]:
        """Robot, epoch and number."""
        return (*self.stream, self.number)


@dataclass(frozen=True)
class Span:
    """Rows of one chunk: ids first to first + rows - 1, consecutive in their stream."""

    stream: tuple[str, str]
    first: int
    rows: int


class ReplayView:
    """An index over the newest rows of a store. Not for several threads at once.

    An episode that another of the same robot has replaced before its end was cut: its last row
    reads as `is_last`. Context that has been written back lives as long as the view. A discarded
    episode, or one that is withheld, keeps its rows and ids, but nothing is drawn from it.

    Args:
        store: the store, opened by this process for reading or writing.
        capacity: rows to keep; the oldest fall out, row by row. Memory is used as rows come.
        extras: the columns `policy/<name>` to hold, as a policy's signature declares them.
    """

    def __init__(
        self,
        store: ReplayStore,
        capacity: int = 1_000_000,
        extras: Mapping[str, TensorSpec] | None = None,
    ) -> None:
        assert capacity >= MAX_CHUNK_ROWS, capacity
        self.capacity = capacity
        self._store = store
        self._extras = dict(extras or {})
        self._rings: Columns = {}
        self._wide: dict[str, Column] = {}
        self._layouts: dict[int, Layout] = {}
        self._streams: dict[int, tuple[str, str]] = {}
        self._tasks: dict[int, str] = {}
        self._episodes: dict[int, Episode] = {}  # by serial number
        self._live: list[int] = []  # serials of episodes with rows to draw, in no order
        self._hidden: set[int] = set()  # serials of the others
        self._discarded: frozenset[tuple[str, str, int]] = frozenset()
        self._place: dict[int, int] = {}  # serial -> index in _live
        self._running: dict[str, int] = {}  # robot -> serial of its newest episode
        self._serials = 0
        self._serial = np.zeros(capacity, np.int64)  # row -> episode
        self._index = np.zeros(capacity, np.int64)  # row -> index within the episode
        self._chunk = np.zeros(capacity, np.int64)  # row -> chunk
        self._offset = np.zeros(capacity, np.int64)  # row -> index within the chunk
        self._after = np.zeros(capacity, np.int64)  # row -> the next one of its episode, or -1
        self._has_extras = np.zeros(capacity, np.bool_)
        for name, spec in self._extras.items():
            self._rings[EXTRA_PREFIX + name] = np.zeros((capacity, *spec.shape), spec.dtype)
        self._spans: list[Span] = []
        self._next_chunk = 0
        self.tail = 0  # oldest row id in view
        self.head = 0  # row id after the newest

    def __len__(self) -> int:
        return self.head - self.tail

    @property
    def drawable(self) -> int:
        """Number of rows in view that may be drawn."""
        hidden = (self._episodes[serial] for serial in self._hidden)
        return len(self) - sum(len(episode.ids) - episode.start for episode in hidden)

    @property
    def columns(self) -> list[str]:
        """Names of the rows' columns, without extras; empty before the first row."""
        return [n for n in (*self._rings, *self._wide) if not n.startswith(EXTRA_PREFIX)]

    @property
    def extras(self) -> list[str]:
        """Names of the declared extras, with their prefix."""
        return [EXTRA_PREFIX + name for name in self._extras]

    @property
    def episodes(self) -> list[Episode]:
        """Episodes with rows to draw, in no particular order."""
        return [self._episodes[serial] for serial in self._live]

    @property
    def episode_count(self) -> int:
        """Number of episodes with rows to draw."""
        return len(self._live)

    def refresh(self) -> int:
        """Index what has been committed since; returns the number of new rows.

        Raises:
            ReplayError: the store is damaged, or holds rows of different robots' types.
        """
        before = self.head
        with self._store.read() as snapshot:
            if self._next_chunk == 0:
                self._skip_old(snapshot)
            for value in snapshot.values(self._next_chunk):
                self._add(snapshot, ChunkHeader.unpack(value), value)
            self._hide(snapshot.discarded())
        return self.head - before

    def spans(self, start: int) -> Iterator[Span]:
        """The chunks that begin at or after row id `start` and are still in view, in order."""
        low = next((i for i, s in enumerate(reversed(self._spans)) if s.first < start), None)
        yield from self._spans[0 if low is None else len(self._spans) - low :]

    def episode_of(self, row: int) -> tuple[Episode, int]:
        """The episode that a row in view belongs to, and its index within `ids`."""
        slot = row % self.capacity
        return self._episodes[int(self._serial[slot])], int(self._index[slot])

    def task_of(self, row: int) -> str:
        """Name of the task that the robot had at a row in view; empty where it is not known."""
        return self.episode_of(row)[0].task

    def random_episode(self, rng: np.random.Generator) -> Episode:
        """One of the episodes with rows to draw, all equally likely."""
        return self._episodes[self._live[int(rng.integers(len(self._live)))]]

    def random_row(self, rng: np.random.Generator) -> int:
        """One of the rows that may be drawn, all equally likely; `drawable` must not be 0."""
        row = int(rng.integers(self.tail, self.head))
        while self.hides((row,)):
            row = int(rng.integers(self.tail, self.head))
        return row

    def hides(self, rows: Iterable[int]) -> bool:
        """Whether any of these rows in view belongs to a discarded or withheld episode."""
        if not self._hidden:
            return False
        return any(int(self._serial[row % self.capacity]) in self._hidden for row in rows)

    def follows(self, rows: Rows) -> NDArray[np.bool_]:
        """(B, T) whether each row comes right after the one left of it in the same episode."""
        slots = rows % self.capacity
        same = np.diff(self._serial[slots], axis=1) == 0
        found = np.zeros(rows.shape, np.bool_)
        found[:, 1:] = same & (np.diff(self._index[slots], axis=1) == 1)
        return found

    def before(self, rows: Rows) -> Rows:
        """(N,) the row before each of `rows` in its episode, -1 where none is in view."""
        previous = np.full(len(rows), -1, np.int64)
        for i, row in enumerate(rows.tolist()):
            episode, index = self.episode_of(row)
            if index > episode.start:
                previous[i] = episode.ids[index - 1]
        return previous

    def after(self, rows: Rows) -> Rows:
        """The row after each of `rows` in its episode, -1 where there is none yet or ever; `rows`
        of any shape, all in view."""
        return self._after[rows % self.capacity]

    def hidden(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows belong to discarded episodes; `rows` of any shape, all in view."""
        if not self._hidden:
            return np.zeros(rows.shape, np.bool_)
        return np.isin(self._serial[rows % self.capacity], list(self._hidden))

    def has_extras(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows have all declared extras; `rows` of any shape, all in view."""
        return self._has_extras[rows % self.capacity]

    def write_back(self, rows: Rows, context: Mapping[str, Any]) -> None:
        """Replace the extras of rows; rows that are no longer in view are left out.

        Args:
            rows: (B, T) row ids.
            context: name without prefix -> (B, T, ...) array or tensor on the host, every name
                that an agent keeps.
        """
        flat = rows.reshape(-1)
        alive = self.holds(flat)
        slots = flat[alive] % self.capacity
        for name, values in context.items():
            ring = self._rings[EXTRA_PREFIX + name]
            ring[slots] = np.asarray(values).reshape(-1, *ring.shape[1:])[alive]
        if context:
            self.mark(flat[alive])

    def holds(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows are in view."""
        return (rows >= self.tail) & (rows < self.head)

    def mark(self, rows: Rows) -> None:
        """Note that rows in view have all declared extras, wherever these are kept."""
        self._has_extras[rows % self.capacity] = True

    def gather(self, rows: Rows, names: Sequence[str]) -> Columns:
        """Columns of rows in view, copied: `rows` of any shape (...) gives (..., *shape)."""
        slots = rows % self.capacity
        found = {name: self._rings[name][slots] for name in names if name in self._rings}
        wide = [name for name in names if name not in found]
        return found | self._gather_wide(rows, slots, wide) if wide else found

    def place(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array where those of `gather` are: on the host, as it is."""
        return array

    def _gather_wide(self, rows: Rows, slots: Rows, names: Sequence[str]) -> Columns:
        """Copy runs of rows that lie together in a chunk, from the store's own memory."""
        columns = {n: self._wide[n] for n in names}
        out = {n: np.empty((*rows.shape, *c.shape), c.dtype) for n, c in columns.items()}
        chunks, offsets = self._chunk[slots.reshape(-1)], self._offset[slots.reshape(-1)]
        breaks = (np.diff(chunks) != 0) | (np.diff(offsets) != 1)
        starts = [0, *(np.flatnonzero(breaks) + 1).tolist()]
        ends = [*starts[1:], rows.size]
        targets = [(c, out[n].reshape(-1).view(np.uint8).data) for n, c in columns.items()]
        first_chunks, first_offsets = chunks[starts].tolist(), offsets[starts].tolist()
        with self._store.read() as snapshot:
            for number, offset, low, high in zip(
                first_chunks, first_offsets, starts, ends, strict=True
            ):
                value = snapshot.value(number)
                header = ChunkHeader.unpack(value)
                layout = self._layouts[header.layout].columns
                for column, target in targets:
                    size = column.nbytes
                    begin = layout[column.name].start(header.rows) + offset * size
                    target[low * size : high * size] = value[begin : begin + (high - low) * size]
        return out

    def _skip_old(self, snapshot: Snapshot) -> None:
        """Begin at the first chunk that lies within the capacity."""
        oldest = max(0, snapshot.rows - self.capacity)
        self._next_chunk = snapshot.chunk_of(oldest) if oldest else 0
        if snapshot.chunks > self._next_chunk:
            header = ChunkHeader.unpack(snapshot.value(self._next_chunk))
            self.tail = self.head = header.first_row

    def _add(self, snapshot: Snapshot, header: ChunkHeader, value: memoryview) -> None:
        if header.first_row != self.head:
            raise ReplayError(f"row {self.head} is missing: a chunk begins at {header.first_row}")
        layout = self._layout(snapshot, header.layout)
        stream = self._stream(snapshot, header.stream)
        self._drop(header.first_row + header.rows - self.capacity)
        ids = np.arange(header.first_row, header.first_row + header.rows)
        slots = ids % self.capacity
        for name, column in layout.columns.items():
            if name in self._rings and self._fits(name, column):
                self._rings[name][slots] = column.read(value, header.rows)
        absent = [
            name
            for name in self.extras
            if name not in layout.columns or not self._fits(name, layout.columns[name])
        ]
        for name in absent:
            self._rings[name][slots] = 0  # not those of a row that was here before
        complete = bool(self._extras) and not absent
        # A row that no policy chose, such as a hold, has zeros in their place.
        self._has_extras[slots] = complete & (self._rings[POLICY_VERSION][slots] != NO_POLICY)
        serial = self._episode(stream, header, self._task(snapshot, header.task))
        episode = self._episodes[serial]
        self._serial[slots] = serial
        self._index[slots] = np.arange(len(episode.ids), len(episode.ids) + header.rows)
        self._chunk[slots] = self._next_chunk
        self._offset[slots] = np.arange(header.rows)
        self._after[slots] = np.append(ids[1:], -1)
        if episode.ids and episode.ids[-1] >= self.tail:
            self._after[episode.ids[-1] % self.capacity] = ids[0]
        episode.ids.extend(ids.tolist())
        episode.closed = bool(self._rings[IS_LAST][slots[-1]])
        episode.cut |= bool(header.flags & CUT)
        self._spans.append(Span(stream, header.first_row, header.rows))
        self._next_chunk += 1
        self.head = header.first_row + header.rows

    def _layout(self, snapshot: Snapshot, number: int) -> Layout:
        if number not in self._layouts:
            layout = snapshot.layout(number)
            rows = {n: c for n, c in layout.columns.items() if not n.startswith(EXTRA_PREFIX)}
            if not self._layouts:
                self._allocate(rows)
            if rows.keys() != set(self.columns):
                raise ReplayError(f"expected the columns {self.columns}, got {list(rows)}")
            for name, column in rows.items():
                if not self._fits(name, column):
                    raise ReplayError(f"column {name} is not as before: {column}")
            self._layouts[number] = layout
        return self._layouts[number]

    def _allocate(self, columns: Mapping[str, Column]) -> None:
        for name, column in columns.items():
            if column.nbytes > NARROW_BYTES:
                self._wide[name] = column
            else:
                self._rings[name] = np.zeros((self.capacity, *column.shape), column.dtype)

    def _fits(self, name: str, column: Column) -> bool:
        if name in self._wide:
            known = self._wide[name]
            return (known.dtype, known.shape) == (column.dtype, column.shape)
        ring = self._rings[name]
        return (ring.dtype, ring.shape[1:]) == (column.dtype, column.shape)

    def _stream(self, snapshot: Snapshot, number: int) -> tuple[str, str]:
        if number not in self._streams:
            streams: list[Stream] = snapshot.streams()
            self._streams = {s.number: (s.robot, s.epoch) for s in streams}
        return self._streams[number]

    def _task(self, snapshot: Snapshot, number: int) -> str:
        if number not in self._tasks:
            self._tasks = snapshot.tasks()
        return self._tasks[number]

    def _episode(self, stream: tuple[str, str], header: ChunkHeader, task: str) -> int:
        """Serial of the episode; a new one closes the robot's previous one."""
        serial = self._running.get(stream[0])
        if serial is not None and serial in self._episodes:
            episode = self._episodes[serial]
            if (episode.stream, episode.number) == (stream, header.episode):
                return serial
            self._close(episode)
        serial = self._serials
        self._serials += 1
        episode = self._episodes[serial] = Episode(stream, header.episode, task)
        episode.evaluation = bool(header.flags & EVALUATION)
        episode.withheld = bool(header.flags & WITHHELD)
        episode.hidden = episode.withheld or episode.key in self._discarded
        self._hidden.add(serial) if episode.hidden else self._show(serial)
        self._running[stream[0]] = serial
        return serial

    def _hide(self, discarded: frozenset[tuple[str, str, int]]) -> None:
        """Draw nothing from these episodes from now on, and again from others."""
        if discarded == self._discarded:
            return
        self._discarded = discarded
        for serial, episode in self._episodes.items():
            hidden = episode.withheld or episode.key in discarded
            if hidden != episode.hidden:
                self._unlist(serial) if hidden else self._show(serial)
                (self._hidden.add if hidden else self._hidden.discard)(serial)
                episode.hidden = hidden

    def _close(self, episode: Episode) -> None:
        episode.cut |= not episode.closed
        episode.closed = True
        if episode.start < len(episode.ids):
            self._rings[IS_LAST][episode.ids[-1] % self.capacity] = True

    def _drop(self, tail: int) -> None:
        """Let rows with ids under `tail` fall out of the view."""
        if tail <= self.tail:
            return
        slots = np.arange(self.tail, tail) % self.capacity
        serials, indices = self._serial[slots].tolist(), self._index[slots].tolist()
        for serial, index in zip(serials, indices, strict=True):
            episode = self._episodes[serial]
            episode.start = index + 1
            if episode.start == len(episode.ids):
                self._forget(serial)
        self.tail = tail
        if self._spans[len(self._spans) // 2].first < tail:  # amortised: halve when half is old
            self._spans = [span for span in self._spans if span.first >= tail]

    def _forget(self, serial: int) -> None:
        if not self._episodes.pop(serial).hidden:
            self._unlist(serial)
        self._hidden.discard(serial)

    def _show(self, serial: int) -> None:
        self._place[serial] = len(self._live)
        self._live.append(serial)

    def _unlist(self, serial: int) -> None:
        place, last = self._place.pop(serial), self._live.pop()
        if last != serial:
            self._live[place], self._place[last] = last, place
