"""What learners say: metrics, reports, policies and damage."""

from __future__ import annotations

import logging
import math

from robot_client.clock import Clock
from robot_client.errors import DreamfleetError
from robot_client.schema import Json
from server.feed import Feed
from server.journal import Journal
from server.rollout import Rollout
from server.storage import Metric, Report, Storage, Writer

log = logging.getLogger(__name__)


class LearnerNews:
    """Keeps learners' metrics and reports, and hands their policies to the roll-out.

    Args:
        writer: the database.
        journal, feed: for people.
        rollout: takes new versions.
        clock: tells the time.
    """

    def __init__(
        self, writer: Writer, journal: Journal, feed: Feed, rollout: Rollout, clock: Clock
    ) -> None:
        self._writer, self._journal, self._feed = writer, journal, feed
        self._rollout, self._clock = rollout, clock
        self._latest: dict[str, dict[str, float]] = {}
        self._not_finite: dict[str, list[str]] = {}  # metrics of which an operator has been told

    def load(self, storage: Storage, experiment: str) -> None:
        """Read the newest metrics. Blocking."""
        self._latest[experiment] = storage.latest_metrics(experiment)

    def latest(self, experiment: str) -> dict[str, float]:
        """The newest value of every metric."""
        return dict(self._latest.get(experiment, {}))

    def forget(self, experiment: str) -> None:
        """The experiment is gone."""
        self._latest.pop(experiment, None)
        self._not_finite.pop(experiment, None)

    def take(self, experiment: str, event: Json) -> None:
        """A line of a learner; one that is wrong is passed over."""
        try:
            self._take(experiment, event)
        except (KeyError, TypeError, ValueError, AttributeError, DreamfleetError) as error:
            log.warning("learner of %s: event %.200r is wrong: %r", experiment, event, error)

    def _take(self, experiment: str, event: Json) -> None:
        match event["event"]:
            case "metrics":
                self._metrics(experiment, event)
            case "policy":
                self._rollout.learned(experiment, int(event["version"]), dict(event["manifest"]))
            case "damaged":
                self._journal.note("checkpoint_damaged", str(event["text"]), experiment)
            case "report":
                name, path = str(event["name"]), str(event["path"])
                now = self._clock.wall()
                self._writer.put(Report(experiment=experiment, name=name, path=path, time=now))
                self._feed.publish("report", experiment, {"name": name, "time": now})

    def _metrics(self, experiment: str, event: Json) -> None:
        rows = _finite(experiment, event)
        self._note_not_finite(experiment, event["values"])
        self._writer.put(*rows)
        values = {metric.name: metric.value for metric in rows}
        self._latest.setdefault(experiment, {}).update(values)
        about = {key: event[key] for key in ("updates", "rows", "time")}
        self._feed.publish(
            "metrics", experiment, about | {"experiment": experiment, "values": values}
        )

    def _note_not_finite(self, experiment: str, values: Json) -> None:
        """Tell, once, which metrics are no numbers any more: the learner may have diverged."""
        names = [str(name) for name, value in values.items() if not math.isfinite(value)]
        if names and names != self._not_finite.get(experiment):
            text = f"not finite: {', '.join(names)}"[:1000]
            self._journal.note("not_finite", text, experiment)
        self._not_finite[experiment] = names


def _finite(experiment: str, event: Json) -> list[Metric]:
    """The finite ones: neither SQL nor JSON has a place for the others."""
    return [
        Metric(
            experiment=experiment,
            name=str(name),
            updates=int(event["updates"]),
            rows=int(event["rows"]),
            time=float(event["time"]),
            value=float(value),
        )
        for name, value in event["values"].items()
        if math.isfinite(value)
    ]
