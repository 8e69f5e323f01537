"""The rows of one episode, read from the store for people to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.schema import EXTRA_PREFIX
from server.replay.layout import ChunkHeader, Column
from server.replay.snapshot import Snapshot
from server.replay.store import ReplayStore

_AT_ONCE = 2000  # chunks looked at before others get at the store


@dataclass(frozen=True)
class Place:
    """Where an episode's rows are.

    Args:
        chunks: numbers of its chunks, in order, and how many rows each has.
        columns: name -> type of one row, without what policies add.
    """

    chunks: tuple[tuple[int, int], ...]
    columns: dict[str, Column]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(rows for _, rows in self.chunks)


def find(store: ReplayStore, robot: str, epoch: str, episode: int) -> Place | None:
    """Where the episode's rows are; None when there are none. Looks at every chunk's header."""
    with store.read() as snapshot:
        stream, count = snapshot.stream(robot, epoch), snapshot.chunks
    if stream is None:
        return None
    found: list[tuple[int, ChunkHeader]] = []
    for start in range(0, count, _AT_ONCE):
        with store.read() as snapshot:
            for number in range(start, min(start + _AT_ONCE, count)):
                header = ChunkHeader.unpack(snapshot.value(number))
                if header.stream == stream.number and header.episode == episode:
                    found.append((number, header))
    if not found:
        return None
    with store.read() as snapshot:
        columns = snapshot.layout(found[0][1].layout).columns
    kept = {n: c for n, c in columns.items() if not n.startswith(EXTRA_PREFIX)}
    return Place(tuple((number, header.rows) for number, header in found), kept)


def thinned(rows: int, most: int) -> list[int]:
    """At most `most` of the indices 0 to rows - 1, evenly spaced, with the first and the last."""
    return sorted({round(i) for i in np.linspace(0, rows - 1, min(rows, most)).tolist()})


def read(
    store: ReplayStore, place: Place, names: Sequence[str], wanted: Sequence[int]
) -> dict[str, NDArray[Any]]:
    """Columns (N, ...) of the rows `wanted`, indices within the episode in ascending order."""
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for number, inside in _by_chunk(place, wanted):
        with store.read() as snapshot:
            for name, column in _columns(snapshot, number, names).items():
                found[name].append(column[inside])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _by_chunk(place: Place, wanted: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    first = 0
    for number, rows in place.chunks:
        inside = [index - first for index in wanted if first <= index < first + rows]
        if inside:
            yield number, inside
        first += rows


def _columns(snapshot: Snapshot, number: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    value = snapshot.value(number)
    header = ChunkHeader.unpack(value)
    columns = snapshot.layout(header.layout).columns
    return {name: columns[name].read(value, header.rows) for name in names}
