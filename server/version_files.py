"""The files of policy versions: the blobs of a learner, and those that are kept beyond it.

Under an experiment's directory its learner writes blobs/ and prunes it; kept/ has second names of
what is offered, pinned or tried.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from robot_client.durable import sync_directory
from robot_client.schema import Json

_KEPT: Final = "kept"


def blobs_of(manifest: Json) -> set[str]:
    """SHA-256 of every blob of a version."""
    weights = manifest.get("weights")
    return {*manifest.get("graphs", {}).values(), *([weights] if weights else [])}


def blob_path(home: Path, digest: str) -> Path:
    """Where a blob of the experiment with this directory is: the learner's, or one that is kept."""
    path = home / "blobs" / digest
    return path if path.exists() else home / _KEPT / digest


def is_whole(home: Path, manifest: Json) -> bool:
    """Whether all files of a version are there."""
    return all(blob_path(home, digest).is_file() for digest in blobs_of(manifest))


def keep(home: Path, manifest: Json) -> None:
    """Give the files of a version a second name. Raises FileNotFoundError when one is gone."""
    kept = home / _KEPT
    kept.mkdir(parents=True, exist_ok=True)
    for digest in blobs_of(manifest):
        if not (kept / digest).exists():
            os.link(home / "blobs" / digest, kept / digest)
    sync_directory(kept)


def let_go(home: Path, used: set[str]) -> None:
    """Of the second names keep these only."""
    for path in (home / _KEPT).glob("*"):
        if path.name not in used:
            path.unlink()
