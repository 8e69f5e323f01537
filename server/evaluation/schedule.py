"""Whether it is time to evaluate the policy again."""

from __future__ import annotations

from typing import NamedTuple

from server.evaluation.settings import EvaluationSettings


class Moment(NamedTuple):
    """A time in the life of an experiment: rows stored, seconds since 1970, version in use."""

    rows: int
    time: float
    version: int


def is_due(settings: EvaluationSettings, last: Moment, now: Moment) -> bool:
    """Whether one of the periods has passed since the last evaluation, or since the start."""
    passed = (
        (settings.every_rows, now.rows - last.rows),
        (settings.every_minutes, (now.time - last.time) / 60),
        (settings.every_versions, now.version - last.version),
    )
    return any(period is not None and since >= period for period, since in passed)
