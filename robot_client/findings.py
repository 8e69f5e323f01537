"""What a doctor finds: fine, worth a look, or broken, and then what to do about it."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Level = Literal["OK", "WARN", "FAIL"]
_GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """One line of a doctor's report.

    Args:
        check: what was looked at.
        level: OK, WARN (works, but look at it) or FAIL (does not work).
        text: what was found.
        advice: what to do; empty where all is well.
    """

    check: str
    level: Level
    text: str
    advice: str = ""


def broken(findings: Iterable[Finding]) -> bool:
    """Whether anything does not work."""
    return any(finding.level == "FAIL" for finding in findings)


def lines(finding: Finding) -> Iterator[str]:
    """A finding as it is printed: a line, and one with the advice."""
    yield f"{finding.level:4}  {finding.check}: {finding.text}"
    if finding.advice:
        yield f"      -> {finding.advice}"


def secret(check: str, path: Path) -> Finding:
    """Whether a file that holds a secret can be read by its owner only."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding(check, "FAIL", f"{path}: others may read it ({mode:o})", f"chmod 600 {path}")
    return Finding(check, "OK", f"{path}: mode {mode:o}")


def folder(check: str, path: Path, least_gib: float) -> Iterator[Finding]:
    """Whether files can be written below a folder, which need not be there, and fit.

    Args:
        check: what the folder is called.
        path: the folder.
        least_gib: with less free, it is FAIL; with less than ten times that, WARN.
    """
    place = _existing(path)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        text = f"{path}: cannot be written ({error.strerror})"
        yield Finding(check, "FAIL", text, f"let {_user()} write in {place}, or choose another")
        return
    free = shutil.disk_usage(place).free / _GIB
    text = f"{path}: can be written, {free:.1f} GiB free"
    if free < 10 * least_gib:
        level: Level = "FAIL" if free < least_gib else "WARN"
        yield Finding(check, level, text, f"make room on the disk of {place}")
    else:
        yield Finding(check, "OK", text)


def _existing(path: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    path = path.absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def _user() -> str:
    return f"user {os.getuid()}"
