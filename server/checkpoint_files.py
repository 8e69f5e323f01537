"""The checkpoints of an experiment whose learner is not running, by name and without torch.

A learner goes on from the newest numbered folder with a `done` mark; see `server.checkpoint`.
To go back, newer ones are renamed `aside-NUMBER`; they can be restored in turn.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from robot_client.durable import sync_directory
from server.errors import NotFound

_DONE = "done"
_NAME = re.compile(r"(aside-)?(\d{12})")


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint.

    Args:
        number: updates that the learner had made.
        nbytes: on the disk.
        saved_at: seconds since 1970.
        aside: whether a restored older one took its place.
    """

    number: int
    nbytes: int
    saved_at: float
    aside: bool


def list_checkpoints(directory: Path) -> list[Checkpoint]:
    """The whole checkpoints in an experiment's directory, newest first."""
    found = []
    for folder in (directory / "checkpoints").glob("*"):
        name = _NAME.fullmatch(folder.name)
        try:
            if name and (folder / _DONE).exists():
                size = sum(path.stat().st_size for path in folder.iterdir())
                at = (folder / _DONE).stat().st_mtime
                found.append(Checkpoint(int(name[2]), size, at, bool(name[1])))
        except FileNotFoundError:  # a running learner has just pruned it
            continue
    return sorted(found, key=lambda c: (-c.number, c.aside))


def restore(directory: Path, number: int) -> None:
    """Make checkpoint `number` the one that the next learner goes on from. No learner may run.

    Raises NotFound. A crash at any point leaves a whole checkpoint to go on from.
    """
    folder = directory / "checkpoints"
    known = list_checkpoints(directory)
    if number not in [c.number for c in known]:
        raise NotFound(f"no checkpoint {number}")
    if not any(c.number == number and not c.aside for c in known):
        os.rename(_path(folder, number, True), _path(folder, number, False))
    for newer in known:
        if newer.number > number and not newer.aside:
            aside = _path(folder, newer.number, True)
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(_path(folder, newer.number, False), aside)
    sync_directory(folder)


def _path(folder: Path, number: int, aside: bool) -> Path:
    return folder / f"{'aside-' if aside else ''}{number:012d}"
