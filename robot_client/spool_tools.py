"""What `dreamfleet-robot spool` does with the rows that wait on a robot's disk."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from robot_client.durable import write_durably
from robot_client.errors import SpoolError
from robot_client.salvage import rows_of, salvage
from robot_client.schema import Chunk, Json
from robot_client.segments import ASIDE, Segment, State, locked, looked_at, read_mark, read_state
from robot_client.spool import Spool

_LOOKS = 5


def waiting(directory: Path) -> Json:
    """How much waits: the epoch, its seqs, rows and bytes, and whether a robot uses the spool.

    Nothing is mended, and a robot is not disturbed. Raises SpoolError.
    """
    return {k: v for k, v in verify(directory).items() if k != "problems"}


def verify(directory: Path) -> Json:
    """Compare every row that waits with its checksum. Nothing is mended.

    Returns `waiting` with `problems`, which is empty where all is whole. Raises SpoolError when it
    is no spool.
    """
    _refuse_none(directory)
    lock = _free(directory)
    try:
        state, segments, problems = (
            looked_at(directory) if lock is not None else _looked_on(directory)
        )
        first = read_mark(directory / "lock", state)
    except OSError as error:
        raise SpoolError(f"{directory}: {error}") from error
    finally:
        if lock is not None:
            os.close(lock)
    next_seq = max([first, *(segment.next_seq for segment in segments)])
    return {
        "directory": str(directory),
        "epoch": state.epoch,
        "first_seq": first,
        "next_seq": next_seq,
        "rows": next_seq - first,
        "bytes": sum(segment.size for segment in segments),
        "in_use": lock is None,
        "problems": problems,
    }


def _free(directory: Path) -> int | None:
    """The lock of a spool, or None while a robot has it."""
    try:
        return locked(directory / "lock")
    except SpoolError:
        return None


def _looked_on(directory: Path) -> tuple[State, list[Segment], list[str]]:
    """`looked_at` while a robot writes and deletes: again, if something changed under our eyes.

    Raises SpoolError when that does not help.
    """
    found = None
    for _ in range(_LOOKS):
        with contextlib.suppress(FileNotFoundError):  # delivered meanwhile
            state = read_state(directory)
            found = looked_at(directory)
            if not found[2] and read_state(directory) == state:
                break
    if found is None:
        raise SpoolError(f"{directory}: it changes too fast to be read; stop the robot")
    return found


def export(directory: Path, out: Path) -> Json:
    """Copy the rows that wait to a new folder: a `<first seq>.npz` per chunk, and `spool.json`.

    Args:
        directory: the spool, which stays as it is; or a `damaged-*` folder in one, of which all
            that can be read is copied, `holes` being the bytes of each file that cannot.
        out: the folder, which must not be there yet.

    Raises SpoolError when the spool cannot be read, or the folder not be written.
    """
    set_aside = directory.name.startswith(ASIDE)
    try:
        about = _export_aside(directory, out) if set_aside else _export_spool(directory, out)
        write_durably(out / "spool.json", json.dumps(about, indent=1).encode())
    except OSError as error:
        raise SpoolError(f"{out}: {error}") from error
    return about | {"out": str(out)}


def _export_spool(directory: Path, out: Path) -> Json:
    with _opened(directory) as spool:
        out.mkdir(parents=True)
        chunks = [_write(out, chunk) for chunk in spool.chunks()]
        return _about(directory, spool) | {"chunks": chunks}


def _export_aside(directory: Path, out: Path) -> Json:
    paths = sorted(directory.glob("*.rows"))
    if not paths:
        raise SpoolError(f"{directory}: there are no rows")
    out.mkdir(parents=True)
    chunks: list[Json] = []
    holes, orphans, size = {}, 0, 0
    for path in paths:
        data = path.read_bytes()
        first_seq = int(path.stem) if path.stem.isdecimal() else 0
        found = salvage(Segment(path, first_seq), data)
        for run in found.segment.runs:
            rows, tag = rows_of(run, data), run.tag
            chunks.append(_write(out, Chunk("", run.episode, run.first_seq, rows, run.task, tag)))
        holes[path.name] = found.holes
        orphans, size = orphans + found.orphans, size + len(data)
    about = {"rows": sum(chunk["rows"] for chunk in chunks), "bytes": size, "chunks": chunks}
    return {"directory": str(directory), **about, "holes": holes, "orphans": orphans}


def discard(directory: Path, rows: int) -> Json:
    """Give up the rows that wait, for good; the robot begins a new epoch.

    Args:
        directory: the spool.
        rows: how many wait, so that nobody discards what he has not looked at.

    Raises SpoolError when another number waits.
    """
    with _opened(directory) as spool:
        if rows != spool.backlog:
            raise SpoolError(f"{directory}: {spool.backlog} rows wait, not {rows}: nothing is done")
        about = _about(directory, spool)
        spool.ack(spool.next_seq)
        spool.begin_epoch()
        return about | {"discarded": rows}


def _about(directory: Path, spool: Spool) -> Json:
    return {
        "directory": str(directory),
        "epoch": spool.epoch,
        "first_seq": spool.first_unacked,
        "next_seq": spool.next_seq,
        "rows": spool.backlog,
        "bytes": spool.size_bytes,
    }


def _write(out: Path, chunk: Chunk) -> Json:
    name = f"{chunk.first_seq:016d}.npz"
    with (out / name).open("xb") as file:
        np.savez(file, allow_pickle=False, **chunk.columns)
    about = {"file": name, "first_seq": chunk.first_seq, "rows": chunk.rows}
    return about | {"episode": chunk.episode, "task": chunk.task}


def _refuse_none(directory: Path) -> None:
    if not (directory / "state.json").exists():
        raise SpoolError(f"{directory}: there is no spool")


@contextmanager
def _opened(directory: Path) -> Iterator[Spool]:
    _refuse_none(directory)
    spool = Spool(directory)
    try:
        yield spool
    finally:
        spool.close()
