"""Folders as tar streams, made and unpacked on the way, so that nothing has to fit into memory."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from server.errors import Invalid

_PART = 2**20
_BLOCK = tarfile.BLOCKSIZE


def pack(folder: Path) -> Iterator[bytes]:
    """The tar stream of all files below a folder; they must not change meanwhile."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        info = tarfile.TarInfo(path.relative_to(folder).as_posix())
        info.size = path.stat().st_size
        yield info.tobuf(tarfile.PAX_FORMAT)
        with path.open("rb") as file:
            while part := file.read(_PART):
                yield part
        yield bytes(-info.size % _BLOCK)
    yield bytes(2 * _BLOCK)


def unpack(stream: IO[bytes], folder: Path) -> None:
    """Write the files of a tar stream below a folder; nothing can get out of it.

    Raises Invalid when it is no such stream, or would write elsewhere.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise Invalid("archive", "a whole tar of a dataset's folder", error) from error


def unpack_file(path: Path, folder: Path) -> None:
    """As `unpack`, from a file, of which the end must be there, too."""
    end = 2 * _BLOCK
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, io.SEEK_END) - end))
        if file.read() != bytes(end):  # tarfile takes one that was cut between files for whole
            raise Invalid("archive", "a whole tar of a dataset's folder", "one without its end")
        file.seek(0)
        unpack(file, folder)


class Parts(io.RawIOBase):
    """A file that is read from parts as they come."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self._rest = parts, b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a buffer; 0 at the end."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        self._rest = self._rest or next((part for part in self._parts if part), b"")
        count = min(len(view), len(self._rest))
        view[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
