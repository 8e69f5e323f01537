"""What an experiment's directory says: the learner's task in it, and how many rows it holds."""

from __future__ import annotations

import json
import os
from pathlib import Path

from server.errors import ReplayError
from server.replay.store import ReplayStore
from server.storage import Experiment

_DESCRIBED = ("id", "agent", "config", "observation_space", "action_space")


def write_description(directory: Path, experiment: Experiment) -> None:
    """Write `experiment.json`, which tells the learner all it needs, in one step."""
    directory.mkdir(parents=True, exist_ok=True)
    half = directory / "experiment.json.part"
    with half.open("w") as file:
        described = {name: getattr(experiment, name) for name in _DESCRIBED}
        json.dump(described | experiment.settings, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    half.replace(directory / "experiment.json")


def rows_in(replay: Path) -> int | None:
    """Rows in a replay store, None where it cannot be read.

    The database hears of rows after the store has them, so a killed server leaves it behind.
    """
    try:
        store = ReplayStore(replay, readonly=True)
    except ReplayError:
        return None
    try:
        return store.rows
    finally:
        store.close()
