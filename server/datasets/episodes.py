"""Whole episodes: read from a replay store, written into one, and told apart by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.schema import (
    EXTRA_PREFIX,
    MAX_CHUNK_ROWS,
    REWARD,
    ActionSpace,
    Chunk,
    Columns,
    Field,
    check_columns,
)
from server.errors import Invalid
from server.replay.layout import WITHHELD, ChunkHeader, Layout
from server.replay.snapshot import Snapshot
from server.replay.store import Outcome, ReplayStore

_COMMIT_BYTES = 32 * 2**20

Progress = Callable[[int, int], None]  # episodes done, episodes in all


@dataclass(frozen=True)
class About:
    """What all episodes of a dataset have in common.

    Args:
        observation_space: of every row; a dictionary.
        action_space: likewise.
        control_hz: steps per second that the robots aimed at.
    """

    observation_space: spaces.Dict
    action_space: ActionSpace
    control_hz: float


@dataclass(frozen=True)
class Recorded:
    """One episode: who recorded it, and its rows.

    Args:
        robot, epoch, number: its stream, and its number within it.
        task: name of the robot's task then; empty where it is not known.
        columns: (N, ...) every column of a row, in the order of time.
    """

    robot: str
    epoch: str
    number: int
    task: str
    columns: Columns

    @property
    def rows(self) -> int:
        """Number of rows N."""
        return len(self.columns[REWARD])


@dataclass(frozen=True)
class Found:
    """A dataset in some format that has been opened.

    Args:
        about: spaces and pace.
        count: number of episodes.
        notes: what had to be assumed or changed, for people.
        episodes: reads them one by one, in order.
    """

    about: About
    count: int
    notes: tuple[str, ...]
    episodes: Iterator[Recorded]


@dataclass
class Place:
    """Where the rows of one episode lie in a store."""

    robot: str
    epoch: str
    number: int
    task: str
    chunks: list[int] = field(default_factory=list)
    rows: int = 0
    withheld: bool = False  # from learning


class ReplayEpisodes:
    """The episodes that a store held when this was made, in the order in which they began.

    Latent state that a policy added to the rows is left out: it means something to the network
    that made it only; so are discarded episodes. `extras` names these columns.

    Raises ReplayError when the store is damaged.
    """

    def __init__(self, store: ReplayStore) -> None:
        self._store = store
        self._layouts: dict[int, Layout] = {}
        with store.read() as snapshot:
            self.places = self._index(snapshot)
        names = {name for layout in self._layouts.values() for name in layout.columns}
        self.extras = sorted(name for name in names if name.startswith(EXTRA_PREFIX))

    def read(self, place: Place) -> Recorded:
        """Copy the rows of an episode."""
        parts: list[Columns] = []
        with self._store.read() as snapshot:
            for number in place.chunks:
                value = snapshot.value(number)
                header = ChunkHeader.unpack(value)
                columns = self._layouts[header.layout].columns.values()
                kept = (c for c in columns if not c.name.startswith(EXTRA_PREFIX))
                parts.append({c.name: c.read(value, header.rows).copy() for c in kept})
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return Recorded(place.robot, place.epoch, place.number, place.task, joined)

    def _index(self, snapshot: Snapshot) -> list[Place]:
        streams = {s.number: (s.robot, s.epoch) for s in snapshot.streams()}
        tasks, discarded = snapshot.tasks(), snapshot.discarded()
        found: dict[tuple[int, int], Place] = {}
        for number, value in enumerate(snapshot.values()):
            header = ChunkHeader.unpack(value)
            if header.layout not in self._layouts:
                self._layouts[header.layout] = snapshot.layout(header.layout)
            key = header.stream, header.episode
            if key not in found:
                found[key] = Place(*streams[header.stream], header.episode, tasks[header.task])
            found[key].chunks.append(number)
            found[key].rows += header.rows
            found[key].withheld |= bool(header.flags & WITHHELD)
        return [p for p in found.values() if (p.robot, p.epoch, p.number) not in discarded]


class EpisodeStore:
    """Writes whole episodes into a store, as chunks that it commits by and by.

    Args:
        store: where to; a robot's epoch goes on from the rows that it holds.
        fields: what every row must be; see `robot_client.schema.row_fields`.
    """

    def __init__(self, store: ReplayStore, fields: Mapping[str, Field]) -> None:
        self._store, self._fields = store, fields
        self._batch: list[tuple[str, Chunk]] = []
        self._bytes = 0
        self._seqs: dict[tuple[str, str], int] = {}

    def add(self, episode: Recorded) -> None:
        """Store an episode, at the latest with the next `flush`.

        Raises:
            SchemaError: its rows are not what `fields` say, or a name is too long.
            Invalid: its number is not above that of the episode before it in its stream.
            ReplayError: the disk is full or broken.
        """
        stream = episode.robot, episode.epoch
        seq = self._seqs.get(stream)
        seq = self._store.next_seq(*stream) if seq is None else seq
        for start in range(0, episode.rows, MAX_CHUNK_ROWS):
            part = {k: v[start : start + MAX_CHUNK_ROWS] for k, v in episode.columns.items()}
            check_columns(self._fields, part)
            chunk = Chunk(episode.epoch, episode.number, seq + start, part, episode.task)
            self._batch.append((episode.robot, chunk))
            self._bytes += sum(column.nbytes for column in part.values())
        self._seqs[stream] = seq + episode.rows
        if self._bytes >= _COMMIT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Make durable what has been added. Raises as `add` does."""
        batch, self._batch, self._bytes = self._batch, [], 0
        outcomes = self._store.commit(batch)
        for (robot, chunk), outcome in zip(batch, outcomes, strict=True):
            _refuse(robot, chunk, outcome)


def _refuse(robot: str, chunk: Chunk, outcome: Outcome) -> None:
    if outcome.stored != chunk.rows:
        got = outcome.refused or f"row {chunk.first_seq} after row {outcome.next_seq - 1}"
        raise Invalid(f"episodes of {robot} ({chunk.epoch})", "whole and in order", got)


def digest(columns: Mapping[str, NDArray[Any]], without: Collection[str] = ()) -> str:
    """SHA-256 of names, types and numbers of an episode's columns, but for those in `without`."""
    found = hashlib.sha256()
    for name in sorted(columns.keys() - set(without)):
        array = np.ascontiguousarray(columns[name])
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def chosen(text: str, count: int) -> list[int]:
    """Numbers that a list such as `0-9,12` names; all when it is empty.

    Raises Invalid when it is no such list, or names one from `count` on.
    """
    if not text:
        return list(range(count))
    found: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        high = high if dash else low
        if not low.isdecimal() or not high.isdecimal():
            raise Invalid("episodes", "a list such as 0-9,12", repr(text)[:80])
        numbers = range(int(low), int(high) + 1)
        if not numbers or numbers[-1] >= count:
            raise Invalid("episodes", f"numbers from 0 to {count - 1}", part.strip()[:80])
        found.update(numbers)
    return sorted(found)


def portable_names(keys: Sequence[str]) -> dict[str, str]:
    """Names without slashes, which both formats take for folders, by observation key.

    Raises Invalid when two would be the same.
    """
    names = {key: key.replace("/", ".") for key in keys}
    if len(set(names.values())) != len(names):
        raise Invalid("observation_space", "keys that differ without slashes", sorted(names))
    return names
