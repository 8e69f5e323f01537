"""The checkpoints of an experiment whose learner is not running, by name and without torch.

A learner goes on from the newest numbered folder with a `done` mark; see `server.checkpoint`.
To go back, newer ones are renamed `aside-NUMBER`; they can be restored in turn. Those that belong
to policies worth keeping have a second name, `kept-NUMBER`, which no learner prunes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from robot_client.durable import sync_directory
from server.errors import NotFound

_DONE = "done"
_ASIDE, _KEPT = "aside-", "kept-"
_NAME = re.compile(r"(aside-|kept-)?(\d{12})")


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint.

    Args:
        number: updates that the learner had made.
        nbytes: on the disk.
        saved_at: seconds since 1970.
        aside: whether a restored older one took its place.
        kept: whether it stays because it is that of a policy worth keeping.
    """

    number: int
    nbytes: int
    saved_at: float
    aside: bool
    kept: bool = False


def list_checkpoints(directory: Path) -> list[Checkpoint]:
    """The whole checkpoints in an experiment's directory, newest first."""
    found: list[tuple[str, Checkpoint]] = []
    for folder in (directory / "checkpoints").glob("*"):
        name = _NAME.fullmatch(folder.name)
        try:
            if name and (folder / _DONE).exists():
                size = sum(path.stat().st_size for path in folder.iterdir())
                at, prefix = (folder / _DONE).stat().st_mtime, name[1] or ""
                found.append((prefix, Checkpoint(int(name[2]), size, at, prefix == "aside-")))
        except FileNotFoundError:  # a running learner has just pruned it
            continue
    kept = {checkpoint.number for prefix, checkpoint in found if prefix == _KEPT}
    others = {checkpoint.number for prefix, checkpoint in found if prefix != _KEPT}
    one_each = (c for prefix, c in found if prefix != _KEPT or c.number not in others)
    marked = (replace(c, kept=c.number in kept) for c in one_each)
    return sorted(marked, key=lambda c: (-c.number, c.aside))


def newest(directory: Path) -> int:
    """The number of the checkpoint that the next learner goes on from; 0 without any."""
    whole = (mark.parent.name for mark in (directory / "checkpoints").glob(f"[0-9]*/{_DONE}"))
    return max(map(int, whole), default=0)


def keep_nearest(directory: Path, updates: int) -> int | None:
    """Keep the checkpoint nearest to so many updates, an earlier one if two are as near; its
    number. None when there is none."""
    for _ in range(3):
        known = [c for c in list_checkpoints(directory) if not c.aside]
        nearest = min(known, key=lambda c: (abs(c.number - updates), c.number), default=None)
        if nearest is None:
            return None
        folder = directory / "checkpoints"
        try:
            if not nearest.kept:
                _link(_path(folder, nearest.number), _path(folder, nearest.number, _KEPT))
            return nearest.number
        except FileNotFoundError:  # a running learner has just pruned it
            continue
    return None


def keep_only(directory: Path, numbers: Collection[int]) -> None:
    """Let go of the kept checkpoints but for these; the learner may still have them."""
    for folder in (directory / "checkpoints").glob(f"{_KEPT}*"):
        if int(folder.name.removeprefix(_KEPT)) not in numbers:
            shutil.rmtree(folder)


def restore(directory: Path, number: int) -> None:
    """Make checkpoint `number` the one that the next learner goes on from. No learner may run.

    Raises NotFound. A crash at any point leaves a whole checkpoint to go on from.
    """
    folder = directory / "checkpoints"
    known = list_checkpoints(directory)
    if number not in [c.number for c in known]:
        raise NotFound(f"no checkpoint {number}")
    if not _path(folder, number).exists():
        if _path(folder, number, _ASIDE).exists():
            os.rename(_path(folder, number, _ASIDE), _path(folder, number))
        else:
            _link(_path(folder, number, _KEPT), _path(folder, number))
    for newer in known:
        if newer.number > number and (plain := _path(folder, newer.number)).exists():
            aside = _path(folder, newer.number, _ASIDE)
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(plain, aside)
    sync_directory(folder)


def _link(source: Path, target: Path) -> None:
    """Give the files of a checkpoint a second name, the mark last. Raises FileNotFoundError."""
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for path in sorted(source.iterdir(), key=lambda p: p.name == _DONE):
        os.link(path, part / path.name)
    if not (part / _DONE).exists():  # it was being pruned
        raise FileNotFoundError(source / _DONE)
    sync_directory(part)
    os.rename(part, target)
    sync_directory(target.parent)


def _path(folder: Path, number: int, prefix: str = "") -> Path:
    return folder / f"{prefix}{number:012d}"
