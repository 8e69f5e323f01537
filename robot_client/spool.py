"""A queue of rows on the robot's disk: nothing that was recorded is lost, nothing is sent twice.

One thread appends rows, another reads, acknowledges and makes them durable. The directory holds

    lock           held while a process uses the spool; has the newest mark, for those who look on
    state.json     epoch, acknowledged mark, next episode, experiment; replaced atomically
    spare          room on the disk for the next state, without which nothing may be deleted
    <seq>.rows     segments; the name is the seq of the first row
    damaged-*      what could not be used, set aside

Every record is written by one system call, so that a killed process loses no row; a torn last
record is cut when the spool is opened again. A process never appends to a segment of an earlier
one. The state is written before segments are deleted: no seq is ever used again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np

from robot_client.durable import NO_ROOM, keep_spare, sync_directory, sync_file
from robot_client.errors import SpoolError, SpoolFull
from robot_client.schema import IS_LAST, MAX_CHUNK_ROWS, NO_TAG, Chunk, Columns, Tag
from robot_client.segments import (
    FORMAT,
    PREFIX,
    SPARE,
    Run,
    Segment,
    State,
    column_values,
    layout,
    locked,
    opened,
    payloads,
    record,
    write_mark,
    write_state,
)
from robot_client.wire import ARRAY_DTYPES

_SEGMENT_BYTES: Final = 4 * 2**20
_Key = tuple[Any, ...]


class Spool:
    """The queue of rows in `directory`, which is made when it is not there.

    Args:
        directory: holds one robot's spool, and nothing else.
        quota_bytes: the segments never take more than this; at least a few rows.
        task: name of the task that the robot has while this process appends.

    Raises:
        SpoolError: another process uses the directory, or it cannot be read or written.
    """

    def __init__(self, directory: Path, quota_bytes: int = 2**30, task: str = "") -> None:
        self._directory, self._task = directory, task
        self._quota = quota_bytes
        self._segment_bytes = min(_SEGMENT_BYTES, quota_bytes // 4)
        self._rows = threading.Lock()  # guards what append changes; never held while syncing
        self._disk = threading.Lock()  # one reader, acknowledger or syncer at a time; taken first
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = locked(directory / "lock")
        except OSError as error:
            raise SpoolError(f"{directory}: {error}") from error
        try:
            self._state, self._segments = opened(directory)
        except OSError as error:
            os.close(self._lock)
            raise SpoolError(f"{directory}: {error}") from error
        keep_spare(directory / SPARE)
        self._next_seq = max([self._state.acked, *(s.next_seq for s in self._segments)])
        self._durable = self._state.acked  # rows before it are on the disk itself
        self._bytes = sum(s.size for s in self._segments)
        runs = [run for s in self._segments for run in s.runs]
        self._next_episode = max([self._state.next_episode, *(r.episode + 1 for r in runs)])
        self._file: int | None = None  # descriptor of the last segment, once it is ours
        self._run: Run | None = None  # the run that append goes on with
        self._key: _Key | None = None
        self._in_episode = False  # the newest row of this process is not its episode's last

    @property
    def epoch(self) -> str:
        """Names this run of seqs; a new directory begins one, and so does `begin_epoch`."""
        return self._state.epoch

    @property
    def next_seq(self) -> int:
        """The seq that the next row will get."""
        return self._next_seq

    @property
    def first_unacked(self) -> int:
        """The first row that has not been acknowledged; `next_seq` when all have."""
        return self._state.acked

    @property
    def backlog(self) -> int:
        """Number of rows that have not been acknowledged."""
        return self._next_seq - self._state.acked

    @property
    def next_episode(self) -> int:
        """A number that no episode of this epoch has had."""
        return self._next_episode

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments."""
        return self._bytes

    def chunks(self) -> Iterator[Chunk]:
        """The rows that have not been acknowledged, chunk by chunk, each of one episode.

        Raises SpoolError where one cannot be read.
        """
        seq = self.first_unacked
        while (chunk := self.read(seq)) is not None:
            yield chunk
            seq += chunk.rows

    def append(self, episode: int, row: Columns, tag: Tag = NO_TAG) -> int:
        """Write one row, without waiting for the disk. Returns its seq.

        Args:
            episode: number of the episode that the row belongs to.
            row: one array per column, without the leading axis of rows.
            tag: travels with the row.

        Raises:
            SpoolFull: the quota or the disk is exhausted; the spool holds what it held before.
            SpoolError: a column is of a dtype that cannot travel, or the disk fails.
        """
        key = (episode, tag, *((name, a.dtype, a.shape) for name, a in row.items()))
        payload = b"".join([b"R", *[array.tobytes() for array in row.values()]])
        with self._rows:
            if self._lock < 0:
                raise SpoolError(f"{self._directory}: the spool is closed")
            run = self._run
            if run is None or key != self._key or self._segments[-1].size >= self._segment_bytes:
                run = self._begin_run(episode, row, PREFIX.size + len(payload), tag)
                self._key = key
            self._write(record(payload))
            run.rows += 1
            seq = self._next_seq
            self._next_seq = seq + 1
            self._in_episode = not row.get(IS_LAST)
            if row.get(IS_LAST):
                self._run = None
        return seq

    def end_chunk(self) -> None:
        """Begin a new chunk with the next row; a row that is_last does so by itself."""
        with self._rows:
            self._run = None

    def complete(self, from_seq: int, max_rows: int = MAX_CHUNK_ROWS) -> bool:
        """Whether the chunk that begins at `from_seq` cannot grow any more."""
        with self._rows:
            found = self._find(from_seq)
            if found is None:
                return False
            _, run = found
            return run is not self._run or run.next_seq - from_seq >= max_rows

    def read(
        self, from_seq: int, max_rows: int = MAX_CHUNK_ROWS, max_bytes: int | None = None
    ) -> Chunk | None:
        """The chunk that begins with row `from_seq`, as it stands, or None when there is no row.

        Its rows are of one episode and have been made durable; there are at most `max_rows` of
        them and, unless it is a single one, at most `max_bytes` of values.

        Raises:
            SpoolError: the row has been deleted, or the disk fails or returns something else.
        """
        with self._disk:
            with self._rows:
                found = self._find(from_seq)
                if found is None:
                    if from_seq < self._next_seq:
                        raise SpoolError(f"{self._directory}: row {from_seq} is no longer here")
                    return None
                segment, run = found
                count = min(run.next_seq - from_seq, max_rows)
            if max_bytes is not None:
                count = max(1, min(count, max_bytes // run.stride))
            if from_seq + count > self._durable:
                self._sync()
            columns = self._read_rows(segment, run, from_seq, count)
            return Chunk(self.epoch, run.episode, from_seq, columns, run.task, run.tag)

    def sync(self) -> int:
        """Make all rows durable. Returns the seq before which they are. May take many ms.

        Raises:
            SpoolError: the disk fails.
        """
        with self._disk:
            return self._sync()

    def ack(self, next_seq: int) -> None:
        """Forget the rows before `next_seq`: the server has stored them. Never goes back.

        Raises:
            SpoolError: the server claims rows that were never recorded, or the disk fails.
        """
        with self._disk:
            if next_seq > self._next_seq:
                raise SpoolError(
                    f"{self._directory}: row {next_seq - 1} was acknowledged, but the newest is "
                    f"{self._next_seq - 1}: the spool is an old copy; move it away"
                )
            self._state.acked = max(self._state.acked, next_seq)
            write_mark(self._lock, self._state)
            with self._rows:
                ended = self._segments if self._file is None else self._segments[:-1]
                done = [s for s in ended if s.next_seq <= next_seq]
            if done:
                self._drop(done)

    def join(self, experiment: str) -> bool:
        """Let the rows be of this experiment. False while some wait that are of another."""
        with self._disk:
            if experiment != self._state.experiment:
                if self._state.experiment and self.backlog:
                    return False
                self._state.experiment = experiment
                with contextlib.suppress(SpoolError):  # else it is saved with the next mark
                    self._save_state()
            return True

    def begin_epoch(self) -> bool:
        """Begin a new epoch at seq 0, as for a server that has not seen the rows so far.

        Only an empty spool between episodes can: returns False when rows wait for the server or an
        episode is running. An `append` waits meanwhile. Episodes are numbered on.

        Raises:
            SpoolError: the disk fails.
        """
        with self._disk, self._rows:
            if self.backlog or self._in_episode:
                return False
            self._close_file()
            old, self._segments, self._bytes = self._segments, [], 0
            self._save_state()  # as in `_drop`: a crash leaves the old epoch, without rows
            try:
                for segment in old:
                    segment.path.unlink()
            except OSError as error:
                raise SpoolError(f"{self._directory}: {error}") from error
            self._state = State(uuid.uuid4().hex)
            self._next_seq = self._durable = 0
            self._save_state()
            return True

    def close(self) -> None:
        """Make everything durable and let go of the directory. Idempotent."""
        with self._disk:
            if self._lock < 0:
                return
            try:
                self._sync()
                self._save_state()
            finally:
                with self._rows:
                    self._close_file()
                    os.close(self._lock)
                    self._lock = -1

    def _find(self, seq: int) -> tuple[Segment, Run] | None:
        # From the end: the sender usually reads the newest rows.
        for segment in reversed(self._segments):
            if segment.first_seq <= seq < segment.next_seq:
                return segment, next(r for r in reversed(segment.runs) if r.first_seq <= seq)
        return None

    def _begin_run(self, episode: int, row: Columns, stride: int, tag: Tag) -> Run:
        for name, array in row.items():
            if ARRAY_DTYPES.get(array.dtype.name) != array.dtype:
                raise SpoolError(f"row.{name}: a column of {array.dtype} cannot travel")
        entries = [[name, array.dtype.name, array.shape] for name, array in row.items()]
        columns = layout(entries)
        head = record(b"C" + msgpack.packb([episode, entries, self._task, tag.to_json()]))
        if self._file is None or self._segments[-1].size >= self._segment_bytes:
            self._check_quota(len(head) + stride + 200)
            self._begin_segment()
        else:
            self._check_quota(len(head) + stride)
        self._write(head)
        segment = self._segments[-1]
        self._run = Run(episode, self._next_seq, segment.size, columns, stride, self._task, tag)
        segment.runs.append(self._run)
        self._next_episode = max(self._next_episode, episode + 1)
        return self._run

    def _begin_segment(self) -> None:
        self._close_file()
        path = self._directory / f"{self._next_seq:016d}.rows"
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        except OSError as error:
            raise _failure(path, error) from error
        if self._segments and self._segments[-1].path == path:  # the last attempt wrote no row
            self._bytes -= self._segments.pop().size
        self._segments.append(Segment(path, self._next_seq))
        self._write(record(b"H" + msgpack.packb([FORMAT, self.epoch, self._next_seq])))

    def _write(self, data: bytes) -> None:
        """Append whole records to the last segment, or nothing of them."""
        assert self._file is not None
        self._check_quota(len(data))
        segment = self._segments[-1]
        try:
            if os.write(self._file, data) != len(data):
                raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            with contextlib.suppress(OSError):  # else it is cut when the spool is opened again
                os.ftruncate(self._file, segment.size)
            self._close_file()
            raise _failure(segment.path, error) from error
        segment.size += len(data)
        self._bytes += len(data)

    def _check_quota(self, more: int) -> None:
        if self._bytes + more > self._quota:
            raise SpoolFull(
                f"{self._directory}: {self.backlog} rows wait for the server, and the quota of "
                f"{self._quota} bytes is used up"
            )

    def _sync(self) -> int:
        with self._rows:
            dirty = [(s, s.size) for s in self._segments if s.durable_size < s.size]
            next_seq = self._next_seq
        try:
            for segment, size in dirty:  # oldest first: what is durable has no gaps
                sync_file(segment.path)
                segment.durable_size = size
            if dirty:
                sync_directory(self._directory)
        except OSError as error:
            raise SpoolError(f"{self._directory}: {error}") from error
        self._durable = next_seq
        return next_seq

    def _read_rows(self, segment: Segment, run: Run, seq: int, count: int) -> Columns:
        offset = run.offset + (seq - run.first_seq) * run.stride
        try:
            with segment.path.open("rb") as file:
                file.seek(offset)
                data = file.read(count * run.stride)
        except OSError as error:
            raise SpoolError(f"{segment.path}: {error}") from error
        if sum(1 for _ in payloads(data)) != count:
            raise SpoolError(f"{segment.path}: rows from {seq} on are damaged")
        block = np.frombuffer(data, np.uint8).reshape(count, run.stride)[:, PREFIX.size :]
        return {c.name: column_values(block, c) for c in run.columns}

    def _drop(self, segments: list[Segment]) -> None:
        self._save_state()
        for segment in segments:
            try:
                segment.path.unlink()
            except OSError as error:
                raise SpoolError(f"{segment.path}: {error}") from error
            with self._rows:
                self._segments.remove(segment)
                self._bytes -= segment.size
        keep_spare(self._directory / SPARE)

    def _save_state(self) -> None:
        self._state.next_episode = self._next_episode
        try:
            write_state(self._directory, self._state)
        except OSError as error:
            raise SpoolError(f"{self._directory}: {error}") from error

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._run = None


def _failure(path: Path, error: OSError) -> SpoolError:
    """What a row that cannot be written is answered with."""
    kind = SpoolFull if error.errno in NO_ROOM else SpoolError
    return kind(f"{path}: {error}")
