"""Experiments, robots, policies, metrics, episodes and events in SQL."""

from server.storage.models import (
    Audit,
    Course,
    Episode,
    Evaluation,
    Event,
    Experiment,
    Mark,
    Metric,
    Pin,
    Policy,
    Report,
    Robot,
)
from server.storage.queries import Bucket, EpisodeFilter, EpisodeKey, VersionReturns
from server.storage.storage import Storage
from server.storage.writer import Writer

__all__ = [
    "Audit",
    "Bucket",
    "Course",
    "Episode",
    "EpisodeFilter",
    "EpisodeKey",
    "Evaluation",
    "Event",
    "Experiment",
    "Mark",
    "Metric",
    "Pin",
    "Policy",
    "Report",
    "Robot",
    "Storage",
    "VersionReturns",
    "Writer",
]
