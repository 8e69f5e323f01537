"""Whether a replay store is whole."""

from __future__ import annotations

from dataclasses import dataclass, replace

from robot_client.schema import IS_LAST, Chunk
from server.replay.layout import ChunkHeader, Layout
from server.replay.snapshot import Snapshot, Stream, contradiction


@dataclass(frozen=True)
class Audit:
    """Result of `ReplayStore.verify`. Whole means that `problems` is empty."""

    rows: int
    chunks: int
    streams: int
    problems: tuple[str, ...]


def audit(snapshot: Snapshot) -> Audit:
    """Walk all chunks: is every stream whole, from row 0 to its mark, each row once?"""
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
    elif text := contradiction(stream, chunk, 0):
        problems.append(f"{stream}: {text}")
    end = header.first_seq + header.rows
    ended = bool(columns[IS_LAST][-1])
    return problems, replace(stream, next_seq=end, episode=header.episode, ended=ended)
