"""What an experiment's files know better than the database.

The database hears of rows and policies a moment after they are on the disk, so a killed server
leaves it behind.
"""

from __future__ import annotations

import json
from pathlib import Path

from robot_client.schema import Json
from server.errors import ReplayError
from server.replay.store import ReplayStore


def rows_in(directory: Path) -> int | None:
    """Rows in the replay of an experiment's directory; None where it cannot be read."""
    try:
        store = ReplayStore(directory / "replay", readonly=True)
    except ReplayError:
        return None
    try:
        return store.rows
    finally:
        store.close()


def newest_manifest(directory: Path) -> Json | None:
    """The newest policy that the experiment's learner has written; None before the first."""
    written = sorted((directory / "policies").glob("*.json"))
    if not written:
        return None
    manifest: Json = json.loads(written[-1].read_bytes())
    return manifest
