"""A list kept in a JSON file that several processes change, and each sees at once.

Keys and tokens are files and not tables, so that who may come in, and an emergency stop with it,
waits for no database: reading costs one `stat` while nothing has changed.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from robot_client.clock import Clock
from robot_client.durable import write_durably
from server.errors import AccessError

log = logging.getLogger(__name__)

_USE_S = 60.0  # how exact the time of the last use is on the disk


class Entry(BaseModel):
    """Base of what a register holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")


E = TypeVar("E", bound=Entry)
Signature = tuple[int, int, int]  # inode, time of change, size


class Register(Generic[E]):
    """Entries by id, in the order in which they were added.

    Args:
        path: the JSON file, mode 0600; none is an empty register.
        entry: type of the entries.
    """

    def __init__(self, path: Path, entry: type[E]) -> None:
        self._path, self._entry = path, entry
        self._name = os.fspath(path)  # looked at with every message
        self._read: tuple[Signature | None, Mapping[str, E]] = (None, {})

    def entries(self) -> Mapping[str, E]:
        """What is in the file now. Raises AccessError when it cannot be read: nobody comes in."""
        signature, entries = self._read
        now = self._signature()
        if now != signature:
            entries = {} if now is None else self._load()
            self._read = now, entries  # as it was looked at before reading: at worst read twice
        return entries

    @contextmanager
    def changing(self) -> Iterator[dict[str, E]]:
        """The entries, to be changed by nobody else meanwhile; on the disk when the block ends.

        Raises:
            AccessError: they cannot be read or written. What the block raises changes nothing.
        """
        with changing_folder(self._path.parent):
            before = self._signature()
            entries = dict(self._load() if before else {})
            yield entries
            self._save(entries, before)

    def _signature(self) -> Signature | None:
        try:
            found = os.stat(self._name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AccessError(f"{self._path}: {error}") from error
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _load(self) -> Mapping[str, E]:
        try:
            content = json.loads(self._path.read_bytes())
            return {name: self._entry.model_validate(entry) for name, entry in content.items()}
        except (OSError, ValueError, AttributeError, ValidationError) as error:
            raise AccessError(f"{self._path}: cannot be read ({error})") from error

    def _save(self, entries: Mapping[str, E], before: Signature | None) -> None:
        content = {name: entry.model_dump() for name, entry in entries.items()}
        write_durably(self._path, json.dumps(content, indent=1).encode(), mode=0o600)
        if before is not None:  # an inode is used again, and a clock may stand still for a while
            changed = max(os.stat(self._path).st_mtime_ns, before[1] + 1)
            os.utime(self._path, ns=(changed, changed))


class Uses:
    """When each entry was last used: exact in memory, to the minute in a file of one writer."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock
        self._times: dict[str, float] = self.read()
        self._saved = 0.0

    def note(self, entry: str) -> None:
        """The entry is used now."""
        now = self._clock.wall()
        known = entry in self._times
        self._times[entry] = now
        if not known or now - self._saved >= _USE_S:
            self._saved = now
            self._save()

    def read(self) -> dict[str, float]:
        """What the file says: for a process that is not the writer."""
        try:
            content = json.loads(self._path.read_bytes())
            return {str(entry): float(time) for entry, time in content.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # it is for information only

    def _save(self) -> None:
        try:
            part = self._path.with_name(f".{self._path.name}.part")
            part.write_text(json.dumps(self._times))
            part.chmod(0o600)
            part.replace(self._path)
        except OSError as error:
            log.warning("%s: %s", self._path, error)


@contextmanager
def changing_folder(folder: Path) -> Iterator[None]:
    """Have the folder to oneself: it is made if need be, and only its owner can look into it.

    Raises AccessError when something in it cannot be read or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        _hand_over(folder)
    except OSError as error:
        raise AccessError(f"{folder}: {error}") from error


def _hand_over(folder: Path) -> None:
    """What root wrote here belongs to whom the data belongs, who has to read it."""
    owner = folder.parent.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner.st_uid, owner.st_gid)
