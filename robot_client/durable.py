"""Files that are there after a power cut: whole, or as they were before."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_SPARE_BYTES = 64 * 2**10


def write_durably(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replace a file at once and for good: write another beside it, sync, rename, sync the name.

    `mode` is what a new file is created with, less the umask.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)  # a full disk would stay so for its sake
        raise
    sync_directory(path.parent)


def write_from_spare(spare: Path, path: Path, data: bytes) -> None:
    """`write_durably`, but on a full disk in the room that the file `spare` takes till then."""
    try:
        write_durably(path, data)
    except OSError as error:
        if error.errno not in NO_ROOM or not spare.exists():
            raise
        spare.unlink()
        write_durably(path, data)


def keep_spare(spare: Path) -> None:
    """Take room for `write_from_spare`, unless it is taken already or there is none."""
    if not spare.exists():
        with contextlib.suppress(OSError):
            write_durably(spare, os.urandom(_SPARE_BYTES))  # zeros might take no room


def sync_file(path: Path) -> None:
    """Wait until what has been written to a file is on the disk."""
    _sync(path, os.fdatasync)


def sync_directory(directory: Path) -> None:
    """Wait until the names in a directory are on the disk."""
    _sync(directory, os.fsync)


def _sync(path: Path, sync: Callable[[int], None]) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
