"""The durable replay of one experiment: chunks of rows in LMDB, each row once and in order.

A commit is one transaction over many chunks and the high-water marks of their streams, synced to
the disk before it returns. Chunks are only ever added. One process writes; any number may read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lmdb

from robot_client.schema import IS_LAST, Chunk, Tag
from server.errors import ReplayError
from server.replay.audit import Audit, audit
from server.replay.layout import CUT, EVALUATION, WITHHELD, ChunkHeader, Layout
from server.replay.snapshot import (
    DISCARD,
    NUMBER,
    STREAM,
    TASK,
    Snapshot,
    Stream,
    Tables,
    checked,
    contradiction,
    stream_key,
)

FORMAT = b"dreamfleet-replay-1"

_TABLES = (b"chunks", b"layouts", b"streams", b"meta")


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
        key = DISCARD + stream_key(robot, epoch) + b"\0" + NUMBER.pack(episode)
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
            return audit(snapshot)

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
        refused = contradiction(stream, chunk, skip)
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
            _flags(chunk.tag),
        )
        key = NUMBER.pack(self._chunks)
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
            value = STREAM.pack(s.number, s.next_seq, s.episode, s.ended)
            self._txn.put(stream_key(robot, epoch), value, db=self._tables.streams)

    def _stream(self, robot: str, epoch: str) -> Stream:
        known = self._streams.get((robot, epoch)) or self._snapshot.stream(robot, epoch)
        return known or Stream(self._new_number(), robot, epoch, 0, 0, True)

    def _new_number(self) -> int:
        fresh = sum(s.number >= self._numbers for s in self._streams.values())
        return self._numbers + fresh

    def _task(self, name: str) -> int:
        if not name:
            return 0
        key, meta = TASK + checked("task", name), self._tables.meta
        known = self._txn.get(key, db=meta)
        if known is not None:
            return int(NUMBER.unpack(known)[0])
        number = int(self._txn.stat(meta)["entries"])  # the format's is there, and none ever goes
        self._txn.put(key, NUMBER.pack(number), db=meta)
        return number

    def _layout(self, layout: Layout) -> int:
        if layout not in self._layouts:
            self._layouts[layout] = self._intern(layout)
        return self._layouts[layout]

    def _intern(self, layout: Layout) -> int:
        for key, value in self._txn.cursor(db=self._tables.layouts):
            if Layout.from_bytes(value) == layout:
                return int(NUMBER.unpack(key)[0])
        number = int(self._txn.stat(self._tables.layouts)["entries"])
        self._txn.put(NUMBER.pack(number), layout.to_bytes(), db=self._tables.layouts)
        return number


def _flags(tag: Tag) -> int:
    return EVALUATION * bool(tag.evaluation) + WITHHELD * (not tag.learn) + CUT * tag.cut
