"""What a learner waits for before it has made its first update, in words."""

from __future__ import annotations

from server.storage import Experiment
from server.supervisor import Status


def waits_for(experiment: Experiment, learner: Status) -> str:
    """Empty when it waits for nothing, is not to run, or learns nothing at all."""
    if experiment.state != "running" or learner.updates or not learner.learns:
        return ""
    if experiment.observation_space is None:
        return "waits for its first robot"
    least = int(experiment.settings["min_rows"])
    if experiment.rows >= least:
        return ""
    return f"waits for {least:,} rows before the first update (has {experiment.rows:,})"
