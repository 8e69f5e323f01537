"""What an experiment's files know better than the database.

The database hears of rows and policies a moment after they are on the disk, so a killed server
leaves it behind.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from robot_client.schema import Json
from server.errors import ReplayError
from server.replay.store import ReplayStore

log = logging.getLogger(__name__)


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
    """The newest whole policy that the experiment's learner has written; None if there is none."""
    for path in sorted((directory / "policies").glob("*.json"), reverse=True):
        try:
            manifest: Json = json.loads(path.read_bytes())
            return manifest
        except (OSError, ValueError):
            log.warning("%s is damaged: the one before it is offered", path)
    return None
