"""The tables of a replay store, and what one transaction sees of them."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from robot_client.errors import SchemaError
from robot_client.schema import IS_FIRST, MAX_NAME_BYTES, Chunk
from server.errors import ReplayError
from server.replay.layout import ChunkHeader, Layout

NUMBER = struct.Struct(">Q")
STREAM = struct.Struct("<IQQ?")
TASK = b"task\0"  # meta: this and a task's name -> its number, from 1
DISCARD = b"discard\0"  # meta: this, a stream's key and an episode's number -> whether it counts


@dataclass(frozen=True)
class Stream:
    """A robot's epoch and its high-water mark.

    Args:
        number: short name within the store.
        next_seq: rows stored, which are 0 to next_seq - 1.
        episode: number of the episode that the last row belongs to.
        ended: whether that row is the episode's last.
    """

    number: int
    robot: str
    epoch: str
    next_seq: int
    episode: int
    ended: bool


class Tables(NamedTuple):
    """Handles of the four LMDB tables; None where a read-only store has never been written."""

    chunks: Any
    layouts: Any
    streams: Any
    meta: Any


class Snapshot:
    """The store as it was at one moment. Buffers that it hands out die with it."""

    def __init__(self, txn: Any, tables: Tables) -> None:
        self._txn, self._tables = txn, tables

    @property
    def chunks(self) -> int:
        """Number of chunks; they are numbered from 0 without gaps."""
        return int(self._txn.stat(self._tables.chunks)["entries"])

    @property
    def rows(self) -> int:
        """Number of rows, and the next row id."""
        count = self.chunks
        if not count:
            return 0
        last = ChunkHeader.unpack(self.value(count - 1))
        return last.first_row + last.rows

    def value(self, number: int) -> memoryview:
        """Chunk `number` as it is stored. Raises ReplayError when there is none."""
        value = self._txn.get(NUMBER.pack(number), db=self._tables.chunks)
        if value is None:
            raise ReplayError(f"the replay store has no chunk {number}")
        return memoryview(value)

    def values(self, start: int = 0) -> Iterator[memoryview]:
        """All chunks from number `start` on."""
        cursor = self._txn.cursor(db=self._tables.chunks)
        if cursor.set_range(NUMBER.pack(start)):
            yield from (memoryview(value) for value in cursor.iternext(keys=False))

    def chunk_of(self, row: int) -> int:
        """Number of the first chunk that begins at or after row id `row`, by bisection."""
        return bisect_left(
            range(self.chunks), row, key=lambda n: ChunkHeader.unpack(self.value(n)).first_row
        )

    def layout(self, number: int) -> Layout:
        """Layout `number`. Raises ReplayError when there is none."""
        value = self._txn.get(NUMBER.pack(number), db=self._tables.layouts)
        if value is None:
            raise ReplayError(f"the replay store has no layout {number}")
        return Layout.from_bytes(value)

    def tasks(self) -> dict[int, str]:
        """The names of all tasks, by the number in the chunks' headers; 0 where none was known."""
        cursor = self._txn.cursor(db=self._tables.meta)
        found = {0: ""}
        if cursor.set_range(TASK):
            for key, value in cursor:
                if not bytes(key).startswith(TASK):
                    break
                found[NUMBER.unpack(value)[0]] = bytes(key)[len(TASK) :].decode()
        return found

    def discarded(self) -> frozenset[tuple[str, str, int]]:
        """Robot, epoch and number of the episodes that are not to be learned from."""
        cursor = self._txn.cursor(db=self._tables.meta)
        found = set()
        if cursor.set_range(DISCARD):
            for key, value in cursor:
                if not bytes(key).startswith(DISCARD):
                    break
                about = bytes(key)[len(DISCARD) :]
                robot, epoch, _ = about[: -NUMBER.size].decode().split("\0")
                if bytes(value) == b"1":
                    found.add((robot, epoch, int(NUMBER.unpack(about[-NUMBER.size :])[0])))
        return frozenset(found)

    def streams(self) -> list[Stream]:
        """All streams, oldest first."""
        cursor = self._txn.cursor(db=self._tables.streams)
        return sorted((_stream(k, v) for k, v in cursor), key=lambda s: s.number)

    def stream(self, robot: str, epoch: str) -> Stream | None:
        """The stream of a robot's epoch, None before its first row."""
        key = stream_key(robot, epoch)
        value = self._txn.get(key, db=self._tables.streams)
        return None if value is None else _stream(key, value)


def contradiction(stream: Stream, chunk: Chunk, skip: int) -> str:
    """Why the chunk's rows from `skip` on cannot follow the stream; empty when they can."""
    begins = bool(chunk.columns[IS_FIRST][skip])
    if chunk.episode < stream.episode:
        return f"episode {chunk.episode} after episode {stream.episode}"
    goes_on = stream.next_seq > 0 and chunk.episode == stream.episode
    if goes_on and stream.ended:
        return f"rows after the last row of episode {chunk.episode}"
    if goes_on and begins:
        return f"is_first inside episode {chunk.episode}"
    if not goes_on and not begins:
        return f"episode {chunk.episode} begins without is_first"
    return ""


def stream_key(robot: str, epoch: str) -> bytes:
    """The key of a stream. Raises SchemaError as `checked` does."""
    return checked("robot", robot) + b"\0" + checked("epoch", epoch)


def checked(field: str, text: str) -> bytes:
    """As bytes that may be a part of a key, of which LMDB takes 511. Raises SchemaError."""
    name = text.encode()
    if not 0 < len(name) <= MAX_NAME_BYTES or b"\0" in name:
        raise SchemaError(field, f"1 to {MAX_NAME_BYTES} bytes without NUL", repr(text)[:80])
    return name


def _stream(key: bytes | memoryview, value: bytes | memoryview) -> Stream:
    robot, epoch = bytes(key).decode().split("\0")
    number, next_seq, episode, ended = STREAM.unpack(value)
    return Stream(number, robot, epoch, next_seq, episode, ended)
