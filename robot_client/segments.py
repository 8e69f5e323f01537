"""Files of the spool: segments of records, the state beside them, and how they are recovered.

A segment is a run of records: length and CRC-32 of the payload (little-endian uint32 each), then
the payload, whose first byte says what it is: `H` head (msgpack [format, epoch, seq]), `C` columns
(msgpack [episode, [[name, dtype, shape], ...], task, tag]), valid until the next one, `R` the
raw values of one row in that order.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import logging
import os
import re
import struct
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np
from numpy.typing import NDArray

from robot_client.durable import sync_directory, write_durably, write_from_spare
from robot_client.errors import SchemaError, SpoolError
from robot_client.schema import NO_TAG, Tag
from robot_client.wire import ARRAY_DTYPES

_log = logging.getLogger(__name__)
FORMAT: Final = 1
SPARE: Final = "spare"
ASIDE: Final = "damaged-"  # begins the names of folders that hold what could not be used
PREFIX: Final = struct.Struct("<II")
_MAX_RECORD: Final = 64 * 2**20
UNREADABLE: Final = (
    ValueError, TypeError, IndexError, SpoolError, SchemaError, msgpack.UnpackException
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One column of a run: its place within the payload of a row."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(eq=False)
class Run:
    """Consecutive rows of one episode with the same columns, in one segment.

    Args:
        episode: number of the episode.
        first_seq: seq of the first row.
        offset: position of the first row's record in the file.
        columns: places of the values within a row's payload.
        stride: bytes of a row's record.
        task: name of the task that the robot had.
        tag: of its rows.
        rows: how many rows it has.
    """

    episode: int
    first_seq: int
    offset: int
    columns: tuple[Column, ...]
    stride: int
    task: str
    tag: Tag = NO_TAG
    rows: int = 0

    @property
    def next_seq(self) -> int:
        """The seq after its last row."""
        return self.first_seq + self.rows


@dataclass(eq=False)
class Segment:
    """One file, its runs, its size, how much of it has been made durable, and how many bytes at
    its end could not be read when it was."""

    path: Path
    first_seq: int
    runs: list[Run] = field(default_factory=list)
    size: int = 0
    durable_size: int = 0
    torn: int = 0

    @property
    def next_seq(self) -> int:
        """The seq after its last row; `first_seq` when it has none."""
        return self.runs[-1].next_seq if self.runs else self.first_seq


@dataclass
class State:
    """What must outlive the segments."""

    epoch: str
    acked: int = 0
    next_episode: int = 0
    format: int = FORMAT
    experiment: str = ""  # to which the rows belong, once a server has said so


def locked(path: Path) -> int:
    """Lock a file for this process. Returns its descriptor; raises SpoolError if it is taken."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise SpoolError(
            f"{path.parent}: another robot process uses this spool; stop it first"
        ) from error
    return lock


def write_mark(lock: int, state: State) -> None:
    """Leave in the locked file how far the server has acknowledged, for those who look on.

    That is no part of the state: it is not made durable, and counts while the epoch is the same.
    """
    with contextlib.suppress(OSError):  # a full disk must not stop what needs none
        os.pwrite(lock, f"{state.epoch} {state.acked:020d}\n".encode(), 0)


def read_mark(path: Path, state: State) -> int:
    """How far the server has acknowledged: as the state has it, or the mark that came after."""
    epoch, _, acked = path.read_text().strip().partition(" ")
    return (
        max(state.acked, int(acked)) if epoch == state.epoch and acked.isdecimal() else state.acked
    )


def record(payload: bytes) -> bytes:
    """A payload as it stands in the file, with length and checksum."""
    return PREFIX.pack(len(payload), zlib.crc32(payload)) + payload


def payloads(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """(offset after the record, payload) of every record up to the first that is not whole."""
    offset = 0
    while (found := record_at(data, offset)) is not None:
        offset = found[0]
        yield found


def record_at(data: bytes, offset: int) -> tuple[int, memoryview] | None:
    """(offset after it, payload) of the record that begins at `offset`, if there is a whole one."""
    begin = offset + PREFIX.size
    if begin >= len(data):
        return None
    length, crc = PREFIX.unpack_from(data, offset)
    if not 0 < length <= min(_MAX_RECORD, len(data) - begin):
        return None
    payload = memoryview(data)[begin : begin + length]
    return (begin + length, payload) if zlib.crc32(payload) == crc else None


def next_record(data: bytes, offset: int) -> int:
    """Where the first whole record from `offset` on begins; the length of `data` if none does."""
    kinds = re.compile(b"[HCR]")  # of payloads: it spares most places the checksum
    for kind in kinds.finditer(data, offset + PREFIX.size):
        if record_at(data, kind.start() - PREFIX.size) is not None:
            return kind.start() - PREFIX.size
    return len(data)


def layout(entries: list[Any]) -> tuple[Column, ...]:
    """Places of the columns in a row's payload, after its first byte."""
    columns: list[Column] = []
    begin = 1
    for name, dtype_name, shape in entries:
        dtype = ARRAY_DTYPES.get(dtype_name)
        if dtype is None:
            raise SpoolError(
                f"row.{name}: expected one of {', '.join(ARRAY_DTYPES)}, got {dtype_name}"
            )
        end = begin + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        columns.append(Column(name, dtype, tuple(shape), begin, end))
        begin = end
    if not columns:
        raise SpoolError("row: expected columns, got none")
    return tuple(columns)


def column_values(block: NDArray[np.uint8], column: Column) -> NDArray[Any]:
    """(N, *shape) values of a column out of the (N, bytes) payloads of rows."""
    values = np.ascontiguousarray(block[:, column.begin : column.end])
    return values.view(column.dtype).reshape(len(block), *column.shape)


def opened(directory: Path) -> tuple[State, list[Segment]]:
    """State and segments of a directory; what does not fit together is set aside."""
    paths = sorted(directory.glob("*.rows"))
    state = read_state(directory)
    if state is not None:
        segments = [_scanned(path, state.epoch) for path in paths]
        if _continuous(state, segments):
            return state, _without_torn_tails(segments)
        _log.error("%s: segments are missing or damaged in the middle", directory)
    if paths or (directory / "state.json").exists():
        _set_aside(directory, [*paths, directory / "state.json"])
    state = State(uuid.uuid4().hex)
    write_state(directory, state)
    return state, []


def looked_at(directory: Path) -> tuple[State, list[Segment], list[str]]:
    """As `opened`, but nothing is mended: state, segments as far as they can be read, and what is
    wrong with them. Raises SpoolError when the state cannot be read.
    """
    state = read_state(directory)
    if state is None:
        raise SpoolError(f"{directory / 'state.json'}: cannot be read")
    segments = [_scanned(path, state.epoch) for path in sorted(directory.glob("*.rows"))]
    torn = [s for s in segments if s.torn]
    problems = [f"{s.path.name}: the last {s.torn} bytes cannot be read" for s in torn]
    if not _continuous(state, segments):
        problems.append("rows are missing in the middle: the robot would set all aside")
    for path in sorted(directory.glob(f"{ASIDE}*")):
        problems.append(f"{path.name} was set aside; `--export` reads what is left of it")
    return state, segments, problems


def _scanned(path: Path, epoch: str) -> Segment:
    """A segment as far as it can be read."""
    segment = Segment(path, int(path.stem) if path.stem.isdecimal() else -1)
    data = path.read_bytes()
    _scan(segment, data, epoch)
    segment.torn = len(data) - segment.size
    return segment


def _scan(segment: Segment, data: bytes, epoch: str) -> None:
    records = payloads(data)
    try:
        end, head = next(records)
        if bytes(head) != b"H" + msgpack.packb([FORMAT, epoch, segment.first_seq]):
            return
        segment.size = end
        for end, payload in records:
            scan_record(segment, payload)
            segment.size = end
    except StopIteration:
        pass
    except UNREADABLE as error:
        _log.error("%s: not readable from byte %d on: %s", segment.path, segment.size, error)


def scan_record(segment: Segment, payload: memoryview) -> None:
    """Count the record that begins where `segment` ends so far. Raises what `UNREADABLE` says."""
    stride = PREFIX.size + len(payload)
    kind = bytes(payload[:1])
    if kind == b"C":
        found = msgpack.unpackb(payload[1:])
        episode, entries, task, tag = [*found, "", {}] if len(found) == 2 else [*found, {}][:4]
        columns = layout(entries)
        offset = segment.size + stride
        run_stride = PREFIX.size + columns[-1].end
        segment.runs.append(
            Run(episode, segment.next_seq, offset, columns, run_stride, task, Tag.from_json(tag))
        )
    elif kind == b"R" and segment.runs[-1].stride == stride:
        segment.runs[-1].rows += 1
    else:
        raise ValueError(f"a record of {len(payload)} bytes that does not belong here")


def _without_torn_tails(segments: list[Segment]) -> list[Segment]:
    """Cut what follows the last whole record of each file; delete files without rows.

    A record that was being written is torn; where more whole ones follow, the disk has failed, and
    the file is copied aside before.
    """
    kept = []
    for segment in segments:
        if segment.torn:
            _keep_what_follows(segment)
        if segment.next_seq == segment.first_seq:
            segment.path.unlink()
            continue
        if segment.torn:
            _log.warning("%s: cut %d bytes of a torn record", segment.path, segment.torn)
            os.truncate(segment.path, segment.size)
        kept.append(segment)
    return kept


def _continuous(state: State, segments: list[Segment]) -> bool:
    starts = all(s.first_seq <= state.acked for s in segments[:1])
    return starts and all(a.next_seq == b.first_seq for a, b in itertools.pairwise(segments))


def _set_aside(directory: Path, paths: list[Path]) -> None:
    aside = _place_aside(directory)
    for path in paths:
        if path.exists():
            path.rename(aside / path.name)
    _log.error("%s: cannot be used; set aside in %s, a new epoch begins", directory, aside)


def _keep_what_follows(segment: Segment) -> None:
    """Copy a segment aside, if whole records follow the first that is not."""
    path, data = segment.path, segment.path.read_bytes()
    if next_record(data, segment.size) == len(data):
        return
    aside = _place_aside(path.parent)
    write_durably(aside / path.name, data)
    sync_directory(path.parent)
    _log.error("%s: damaged, with rows behind the damage; copied to %s", path, aside)


def _place_aside(directory: Path) -> Path:
    aside = directory / f"{ASIDE}{uuid.uuid4().hex[:8]}"
    aside.mkdir()
    return aside


def read_state(directory: Path) -> State | None:
    """The state; None when there is none, or none that can be used."""
    try:
        data = json.loads((directory / "state.json").read_text())
        state = State(**data)
        good = (
            isinstance(state.epoch, str)
            and isinstance(state.experiment, str)
            and state.format == FORMAT
            and all(type(n) is int and n >= 0 for n in (state.acked, state.next_episode))
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        _log.error("%s: %s", directory / "state.json", error)
        return None
    return state if good else None


def write_state(directory: Path, state: State) -> None:
    """Replace the state durably, or not at all; if need be in the room of the spare file."""
    data = json.dumps(asdict(state)).encode()
    write_from_spare(directory / SPARE, directory / "state.json", data)
