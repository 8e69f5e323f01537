"""What a learner is told: `experiment.json` in its experiment's directory."""

from __future__ import annotations

import json
from pathlib import Path

from robot_client.durable import write_durably
from robot_client.schema import Json
from server.storage import Experiment

_DESCRIBED = ("id", "agent", "config", "observation_space", "action_space")


def write_description(directory: Path, experiment: Experiment, task: Json) -> None:
    """Write `experiment.json`, which tells the learner all it needs, in one step: the task is its
    robots'."""
    directory.mkdir(parents=True, exist_ok=True)
    described = {name: getattr(experiment, name) for name in _DESCRIBED}
    text = json.dumps(described | {"task": task} | experiment.settings, indent=1)
    write_durably(directory / "experiment.json", text.encode())
