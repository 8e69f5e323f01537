"""The durable replay of one experiment: chunks of rows in LMDB, each row once and in order.

A commit is one transaction over many chunks and the high-water marks of their streams, synced to
the disk before it returns. Chunks are only ever added. One process writes; any number may read.
"""

from __future__ import annotations

import struct
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from robot_client.errors import SchemaError
from robot_client.schema import IS_FIRST, IS_LAST, MAX_NAME_BYTES, Chunk
from server.errors import ReplayError
from server.replay.layout import ChunkHeader, Layout

FORMAT = b"dreamfleet-replay-1"

_NUMBER = struct.Struct(">Q")
_STREAM = struct.Struct("<IQQ?")
_TABLES = (b"chunks", b"layouts", b"streams", b"meta")
_TASK = b"task\0"  # meta: this and a task's name -> its number, from 1
_DISCARD = b"discard\0"  # meta: this, a stream's key and an episode's number -> whether it counts


@dataclass(frozen=True)
class Outcome:
    """What became of one chunk.

    Args:
        next_seq: the first row of the epoch that is not stored; rows before it are durable.
        stored: rows stored now; 0 for a duplicate.
        gap: rows before the chunk are missing; the robot must go on from `next_seq`.
        refused: why the chunk contradicts its stream, such as rows after the end of an episode.
    """

    next_seq: int
    stored: int = 0
    gap: bool = False
    refused: str = ""


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


@dataclass(frozen=True)
class Audit:
    """Result of `ReplayStore.verify`. Whole means that `problems` is empty."""

    rows: int
    chunks: int
    streams: int
    problems: tuple[str, ...]


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
        value = self._txn.get(_NUMBER.pack(number), db=self._tables.chunks)
        if value is None:
            raise ReplayError(f"the replay store has no chunk {number}")
        return memoryview(value)

    def values(self, start: int = 0) -> Iterator[memoryview]:
        """All chunks from number `start` on."""
        cursor = self._txn.cursor(db=self._tables.chunks)
        if cursor.set_range(_NUMBER.pack(start)):
            yield from (memoryview(value) for value in cursor.iternext(keys=False))

    def chunk_of(self, row: int) -> int:
        """Number of the first chunk that begins at or after row id `row`, by bisection."""
        return bisect_left(
            range(self.chunks), row, key=lambda n: ChunkHeader.unpack(self.value(n)).first_row
        )

    def layout(self, number: int) -> Layout:
        """Layout `number`. Raises ReplayError when there is none."""
        value = self._txn.get(_NUMBER.pack(number), db=self._tables.layouts)
        if value is None:
            raise ReplayError(f"the replay store has no layout {number}")
        return Layout.from_bytes(value)

    def tasks(self) -> dict[int, str]:
        """The names of all tasks, by the number in the chunks' headers; 0 where none was known."""
        cursor = self._txn.cursor(db=self._tables.meta)
        found = {0: ""}
        if cursor.set_range(_TASK):
            for key, value in cursor:
                if not bytes(key).startswith(_TASK):
                    break
                found[_NUMBER.unpack(value)[0]] = bytes(key)[len(_TASK) :].decode()
        return found

    def discarded(self) -> frozenset[tuple[str, str, int]]:
        """Robot, epoch and number of the episodes that are not to be learned from."""
        cursor = self._txn.cursor(db=self._tables.meta)
        found = set()
        if cursor.set_range(_DISCARD):
            for key, value in cursor:
                if not bytes(key).startswith(_DISCARD):
                    break
                about = bytes(key)[len(_DISCARD) :]
                robot, epoch, _ = about[: -_NUMBER.size].decode().split("\0")
                if bytes(value) == b"1":
                    found.add((robot, epoch, int(_NUMBER.unpack(about[-_NUMBER.size :])[0])))
        return frozenset(found)

    def streams(self) -> list[Stream]:
        """All streams, oldest first."""
        cursor = self._txn.cursor(db=self._tables.streams)
        return sorted((_stream(k, v) for k, v in cursor), key=lambda s: s.number)

    def stream(self, robot: str, epoch: str) -> Stream | None:
        """The stream of a robot's epoch, None before its first row."""
        key = _stream_key(robot, epoch)
        value = self._txn.get(key, db=self._tables.streams)
        return None if value is None else _stream(key, value)


class ReplayStore:
    """The replay of one experiment, in a folder of its own.

    Args:
        path: folder; a writer creates it.
        map_size: bytes of address space to begin with; doubled whenever the data outgrow it.
        readonly: read what another process writes.

    Raises:
        ReplayError: the folder is not a replay store, or (readonly) does not exist yet.
    """

    def __init__(self, path: Path, map_size: int = 2**30, readonly: bool = False) -> None:
        self.path, self._readonly = Path(path), readonly
        self._remap = threading.RLock()  # nobody may hold a buffer while the map moves
        self._write = threading.Lock()
        self._layouts: dict[Layout, int] = {}
        try:
            if not readonly:
                self.path.mkdir(parents=True, exist_ok=True)
            self._env = lmdb.open(
                str(self.path),
                map_size=map_size,
                max_dbs=len(_TABLES),
                readonly=readonly,
                create=not readonly,
                max_readers=126,
                readahead=False,  # samples are drawn at random
            )
            self._env.reader_check()  # learners that were killed while reading hold slots and pages
            self._tables = Tables(*(self._env.open_db(t, create=not readonly) for t in _TABLES))
        except (lmdb.Error, OSError) as error:
            raise ReplayError(f"cannot open the replay store {self.path}: {error}") from error
        self._check_format()

    def close(self) -> None:
        """Close the store. Idempotent."""
        with self._write, self._remap:
            self._env.close()

    @contextmanager
    def read(self) -> Iterator[Snapshot]:
        """A consistent view for the duration of the block. Copy what must outlive it."""
        with self._remap:
            try:
                txn = self._env.begin(buffers=True)
            except lmdb.MapResizedError:  # the writer has outgrown our map
                self._env.set_mapsize(0)
                txn = self._env.begin(buffers=True)
            with txn:
                yield Snapshot(txn, self._tables)

    def append(self, robot: str, chunk: Chunk) -> Outcome:
        """Store one chunk; see `commit`."""
        return self.commit([(robot, chunk)])[0]

    def commit(self, batch: Sequence[tuple[str, Chunk]]) -> list[Outcome]:
        """Store the chunks of several streams in one durable transaction, all or nothing.

        Rows that are stored already are skipped. A chunk that leaves a gap, or contradicts its
        stream, is not stored and says so in its outcome; the others are.

        Raises:
            ReplayError: the disk is full or broken; nothing was stored.
            SchemaError: a robot or epoch has no name, or one that is too long, as may be that of a
                task; nothing was stored.
        """
        with self._write:
            while True:
                known = dict(self._layouts)
                try:
                    with self._env.begin(write=True) as txn:
                        writer = _Commit(txn, self._tables, known)
                        outcomes = [writer.add(robot, chunk) for robot, chunk in batch]
                        writer.finish()
                    self._layouts = known
                    return outcomes
                except lmdb.MapFullError:
                    self._grow()
                except lmdb.Error as error:
                    raise ReplayError(f"cannot write {self.path}: {error}") from error

    def discard(self, robot: str, epoch: str, episode: int, discarded: bool = True) -> None:
        """Keep an episode, which may not have begun, from being learned from, or let it count
        again. No row is deleted.

        Raises:
            ReplayError: the disk is full or broken.
            SchemaError: the robot or the epoch has no name, or one that is too long.
        """
        key = _DISCARD + _stream_key(robot, epoch) + b"\0" + _NUMBER.pack(episode)
        value = b"1" if discarded else b"0"  # never removed: tasks are numbered by all entries
        with self._write:
            while True:
                try:
                    with self._env.begin(write=True) as txn:
                        txn.put(key, value, db=self._tables.meta)
                    return
                except lmdb.MapFullError:
                    self._grow()
                except lmdb.Error as error:
                    raise ReplayError(f"cannot write {self.path}: {error}") from error

    def next_seq(self, robot: str, epoch: str) -> int:
        """The first row of the epoch that is not stored."""
        with self.read() as snapshot:
            stream = snapshot.stream(robot, epoch)
        return stream.next_seq if stream else 0

    @property
    def rows(self) -> int:
        """Rows stored so far."""
        with self.read() as snapshot:
            return snapshot.rows

    def verify(self) -> Audit:
        """Walk all chunks: is every stream whole, from row 0 to its mark, each row once?"""
        with self.read() as snapshot:
            problems: list[str] = []
            seen: dict[int, Stream] = {}
            streams = {s.number: s for s in snapshot.streams()}
            layouts: dict[int, Layout] = {}
            tasks = snapshot.tasks()
            row = count = 0
            for count, value in enumerate(snapshot.values(), 1):
                header = ChunkHeader.unpack(value)
                if header.layout not in layouts:
                    layouts[header.layout] = snapshot.layout(header.layout)
                where = f"chunk {count - 1}"
                if header.first_row != row:
                    problems.append(f"{where}: begins at row {header.first_row}, not {row}")
                row = header.first_row + header.rows
                if header.task not in tasks:
                    problems.append(f"{where}: belongs to no task")
                if header.stream not in streams:
                    problems.append(f"{where}: belongs to no stream")
                    continue
                start = replace(streams[header.stream], next_seq=0, episode=0, ended=True)
                stream = seen.get(header.stream, start)
                found, after = _audit(stream, header, layouts[header.layout], value)
                problems += [f"{where}: {text}" for text in found]
                seen[header.stream] = after
            for number, stream in streams.items():
                if seen.get(number) != stream:
                    problems.append(f"{stream}: its chunks end elsewhere: {seen.get(number)}")
            return Audit(row, count, len(streams), tuple(problems))

    def _grow(self) -> None:
        with self._remap:
            self._env.set_mapsize(2 * self._env.info()["map_size"])

    def _check_format(self) -> None:
        if not self._readonly:
            with self._env.begin(write=True) as txn:
                txn.put(b"format", FORMAT, db=self._tables.meta, overwrite=False)
        with self._env.begin() as txn:
            found = txn.get(b"format", db=self._tables.meta)
        if found != FORMAT:
            self._env.close()
            raise ReplayError(f"{self.path}: expected format {FORMAT!r}, got {found!r}")


class _Commit:
    """One transaction in the making."""

    def __init__(self, txn: Any, tables: Tables, layouts: dict[Layout, int]) -> None:
        self._txn, self._tables, self._layouts = txn, tables, layouts
        self._snapshot = Snapshot(txn, tables)
        self._chunks, self._rows = self._snapshot.chunks, self._snapshot.rows
        self._streams: dict[tuple[str, str], Stream] = {}
        self._numbers = int(txn.stat(tables.streams)["entries"])

    def add(self, robot: str, chunk: Chunk) -> Outcome:
        stream = self._stream(robot, chunk.epoch)
        skip = stream.next_seq - chunk.first_seq
        if skip < 0:
            return Outcome(stream.next_seq, gap=True)
        if skip >= chunk.rows:
            return Outcome(stream.next_seq)
        refused = _contradiction(stream, chunk, skip)
        if refused:
            return Outcome(stream.next_seq, refused=refused)
        columns = {k: v[skip:] for k, v in chunk.columns.items()} if skip else chunk.columns
        rows = chunk.rows - skip
        layout = Layout.of(columns)
        header = ChunkHeader(
            self._rows,
            stream.next_seq,
            chunk.episode,
            stream.number,
            self._layout(layout),
            rows,
            self._task(chunk.task),
        )
        key = _NUMBER.pack(self._chunks)
        self._txn.put(key, layout.pack(header, columns), db=self._tables.chunks, append=True)
        self._chunks, self._rows = self._chunks + 1, self._rows + rows
        self._streams[robot, chunk.epoch] = replace(
            stream,
            next_seq=stream.next_seq + rows,
            episode=chunk.episode,
            ended=bool(columns[IS_LAST][-1]),
        )
        return Outcome(stream.next_seq + rows, rows)

    def finish(self) -> None:
        for (robot, epoch), s in self._streams.items():
            value = _STREAM.pack(s.number, s.next_seq, s.episode, s.ended)
            self._txn.put(_stream_key(robot, epoch), value, db=self._tables.streams)

    def _stream(self, robot: str, epoch: str) -> Stream:
        known = self._streams.get((robot, epoch)) or self._snapshot.stream(robot, epoch)
        return known or Stream(self._new_number(), robot, epoch, 0, 0, True)

    def _new_number(self) -> int:
        fresh = sum(s.number >= self._numbers for s in self._streams.values())
        return self._numbers + fresh

    def _task(self, name: str) -> int:
        if not name:
            return 0
        key, meta = _TASK + _checked("task", name), self._tables.meta
        known = self._txn.get(key, db=meta)
        if known is not None:
            return int(_NUMBER.unpack(known)[0])
        number = int(self._txn.stat(meta)["entries"])  # the format's is there, and none ever goes
        self._txn.put(key, _NUMBER.pack(number), db=meta)
        return number

    def _layout(self, layout: Layout) -> int:
        if layout not in self._layouts:
            self._layouts[layout] = self._intern(layout)
        return self._layouts[layout]

    def _intern(self, layout: Layout) -> int:
        for key, value in self._txn.cursor(db=self._tables.layouts):
            if Layout.from_bytes(value) == layout:
                return int(_NUMBER.unpack(key)[0])
        number = int(self._txn.stat(self._tables.layouts)["entries"])
        self._txn.put(_NUMBER.pack(number), layout.to_bytes(), db=self._tables.layouts)
        return number


def _contradiction(stream: Stream, chunk: Chunk, skip: int) -> str:
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


def _audit(
    stream: Stream, header: ChunkHeader, layout: Layout, value: memoryview
) -> tuple[list[str], Stream]:
    """Problems of one chunk after `stream`, and the stream after it."""
    size = len(value) - len(header.pack()) - header.rows * layout.row_bytes
    if size:
        return [f"is {size} bytes too long"], stream
    columns = {k: layout.columns[k].read(value, header.rows) for k in layout.columns}
    chunk = Chunk(stream.epoch, header.episode, header.first_seq, columns)
    problems = []
    if header.first_seq != stream.next_seq:
        problems.append(f"{stream}: row {header.first_seq} follows row {stream.next_seq - 1}")
    elif text := _contradiction(stream, chunk, 0):
        problems.append(f"{stream}: {text}")
    end = header.first_seq + header.rows
    ended = bool(columns[IS_LAST][-1])
    return problems, replace(stream, next_seq=end, episode=header.episode, ended=ended)


def _stream_key(robot: str, epoch: str) -> bytes:
    return _checked("robot", robot) + b"\0" + _checked("epoch", epoch)


def _checked(field: str, text: str) -> bytes:
    """As bytes that may be a part of a key, of which LMDB takes 511."""
    name = text.encode()
    if not 0 < len(name) <= MAX_NAME_BYTES or b"\0" in name:
        raise SchemaError(field, f"1 to {MAX_NAME_BYTES} bytes without NUL", repr(text)[:80])
    return name


def _stream(key: bytes | memoryview, value: bytes | memoryview) -> Stream:
    robot, epoch = bytes(key).decode().split("\0")
    number, next_seq, episode, ended = _STREAM.unpack(value)
    return Stream(number, robot, epoch, next_seq, episode, ended)
