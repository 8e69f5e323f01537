"""What a Prometheus server scrapes. Collected anew at each scrape: nothing is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.experiments import Experiments
from server.fleet import Fleet
from server.states import State

_STATES: tuple[State, ...] = ("created", "running", "paused", "stopped", "failed")


def exposition(experiments: Experiments, fleet: Fleet) -> tuple[bytes, str]:
    """The text of a scrape, and its media type."""
    registry = CollectorRegistry()
    registry.register(_Server(experiments, fleet))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Server(Collector):
    def __init__(self, experiments: Experiments, fleet: Fleet) -> None:
        self._experiments, self._fleet = experiments, fleet

    def collect(self) -> Iterable[Metric]:
        states = Counter(e.state for e in self._experiments.all())
        family = GaugeMetricFamily(
            "dreamfleet_experiments", "Experiments in each state.", labels=["state"]
        )
        for state in _STATES:
            family.add_metric([state], states[state])
        yield family
        yield GaugeMetricFamily(
            "dreamfleet_storing", "1 while rows can be stored.", value=not self._fleet.problem
        )
        yield CounterMetricFamily(
            "dreamfleet_messages_refused", "Messages of robots refused.", value=self._fleet.refused
        )
        yield from self._learners()
        yield from self._robots()
        yield from self._people()

    def _learners(self) -> Iterable[Metric]:
        about = {
            "rows": "Rows stored.",
            "updates": "Updates of the learner.",
            "restarts": "Restarts of the learner since it last ran well.",
            "policy_version": "Newest version of the policy.",
        }
        families = {
            name: GaugeMetricFamily(f"dreamfleet_{name}", text, labels=["experiment"])
            for name, text in about.items()
        }
        for experiment in self._experiments.all():
            learner = self._experiments.learner(experiment.id)
            version = self._experiments.policy_version(experiment.id)
            families["rows"].add_metric([experiment.id], experiment.rows)
            families["updates"].add_metric([experiment.id], learner.updates)
            families["restarts"].add_metric([experiment.id], learner.restarts)
            if version is not None:
                families["policy_version"].add_metric([experiment.id], version)
        return families.values()

    def _robots(self) -> Iterable[Metric]:
        about = {
            "loop_hz": "Measured rate of the control loop.",
            "missed_ticks": "Ticks missed since the robot's start.",
            "backlog_rows": "Rows that wait on the robot.",
            "latency": "Seconds of the slowest of the last choices of an action.",
            "policy_version": "Version that the robot acts with.",
        }
        labels = ["robot", "experiment"]
        families = {
            name: GaugeMetricFamily(f"dreamfleet_robot_{name}", text, labels=labels)
            for name, text in about.items()
        }
        safety = GaugeMetricFamily(
            "dreamfleet_robot_safety",
            "1 for the rung that the robot is on.",
            labels=[*labels, "rung"],
        )
        for session in self._fleet.sessions():
            if session.heartbeat is not None:
                values = [session.robot, session.experiment]
                safety.add_metric([*values, session.heartbeat.safety], 1)
                for name, family in families.items():
                    family.add_metric(values, getattr(session.heartbeat, name))
        return [*families.values(), safety]

    def _people(self) -> Iterable[Metric]:
        """What people who drive robots did; the share of it is human_steps by steps."""
        labels = ["robot", "experiment"]
        about = {
            "steps": "Steps stored since the server's start.",
            "human_steps": "Those that a person chose.",
            "interventions": "How often a person took over.",
        }
        for name, text in about.items():
            family = CounterMetricFamily(f"dreamfleet_robot_{name}", text, labels=labels)
            for (experiment, robot), share in self._experiments.humans.items():
                family.add_metric([robot, experiment], getattr(share, name))
            yield family
        driven = GaugeMetricFamily(
            "dreamfleet_robot_driven", "1 while a person drives.", labels=labels
        )
        for session in self._fleet.sessions():
            if session.heartbeat is not None:
                driven.add_metric(
                    [session.robot, session.experiment], bool(session.heartbeat.driver)
                )
        yield driven
