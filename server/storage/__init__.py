"""Experiments, robots, policies, metrics, episodes and events in SQL."""

from server.storage.models import Audit, Episode, Event, Experiment, Metric, Policy, Report, Robot
from server.storage.storage import Storage
from server.storage.writer import Writer

__all__ = [
    "Audit",
    "Episode",
    "Event",
    "Experiment",
    "Metric",
    "Policy",
    "Report",
    "Robot",
    "Storage",
    "Writer",
]
