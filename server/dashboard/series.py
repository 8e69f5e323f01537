"""Curves of one or several experiments: read once, then kept up to date from the feed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from server.api.metrics import EPISODE_RETURN, EVALUATION_RETURN, HUMAN_SHARE, INTERVENTIONS
from server.dashboard.parts import running_mean
from server.dashboard.visit import Visit
from server.feed import News

Axis = Literal["rows", "minutes", "updates"]
_FIRST = 600  # points of a curve when a page opens
_MOST = 2000  # points that a page keeps; then it is read again, thinned


class Point(NamedTuple):
    """A value, and when it was reported: seconds since 1970, rows stored, updates made."""

    time: float
    rows: int
    updates: int
    value: float


@dataclass
class Series:
    """One metric of one experiment, oldest first."""

    points: list[Point] = field(default_factory=list)

    def over(self, axis: Axis, window: int = 1) -> list[list[float]]:
        """(x, y) pairs; y is the mean of `window` values. Minutes count from the first value."""
        if not self.points:
            return []
        began = self.points[0].time
        values = running_mean([point.value for point in self.points], window)
        return [
            [round(_place(point, axis, began), 3), value]
            for point, value in zip(self.points, values, strict=True)
        ]

    def mean(self, last: int) -> float | None:
        """Of the newest values; None without any."""
        values = [point.value for point in self.points[-last:]]
        return sum(values) / len(values) if values else None


def _place(point: Point, axis: Axis, began: float) -> float:
    match axis:
        case "rows":
            return point.rows
        case "updates":
            return point.updates
        case "minutes":
            return (point.time - began) / 60


class Curves:
    """The metrics that a page shows, of the experiments that it shows them of.

    Args:
        visit: the page.
    """

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._series: dict[tuple[str, str], Series] = {}

    async def want(self, experiment: str, names: list[str]) -> None:
        """Have these metrics of an experiment. Raises Refused when it is gone."""
        missing = [name for name in names if (experiment, name) not in self._series]
        if missing:
            await self._read(experiment, missing)

    def of(self, experiment: str, name: str) -> Series:
        """A metric; empty while nothing is known of it."""
        return self._series.get((experiment, name), Series())

    async def hear(self, heard: list[News]) -> bool:
        """Take what the feed has told. Returns whether something is new."""
        if any(news.kind == "lost" for news in heard):
            for experiment, name in list(self._series):
                await self._read(experiment, [name])
            return True
        grown = [self._take(news) for news in heard if news.experiment is not None]
        for (experiment, name), series in self._series.items():
            if len(series.points) > _MOST:
                await self._read(experiment, [name])
        return any(grown)

    async def _read(self, experiment: str, names: list[str]) -> None:
        query = {"experiment": experiment, "name": names, "points": _FIRST}
        found = (await self._visit.get("/metrics", **query))["series"]
        for name, series in found.items():
            columns = (series[column] for column in ("time", "rows", "updates", "value"))
            points = [Point(*row) for row in zip(*columns, strict=True)]
            self._series[experiment, name] = Series(points)

    def _take(self, news: News) -> bool:
        about: dict[str, Any] = news.data
        values: dict[str, float] = {}
        if news.kind == "metrics":
            values = about["values"]
        elif news.kind == "episode":
            values = _of_episode(about)
        grown = False
        for name, value in values.items():
            series = self._series.get((news.experiment or "", name))
            if series is not None:
                series.points.append(_point(news, series, value))
                grown = True
        return grown


def _of_episode(episode: dict[str, Any]) -> dict[str, float]:
    """What an episode adds to which metrics, as the service counts it."""
    share = episode["human_steps"] / max(1, episode["steps"])
    return _returns(episode) | {HUMAN_SHARE: share, INTERVENTIONS: episode["interventions"]}


def _returns(episode: dict[str, Any]) -> dict[str, float]:
    """Where the return of an episode counts, as the service counts it."""
    if episode["evaluation"] is None:
        counts = not (episode["human_steps"] or episode["aborted"])
        return {EPISODE_RETURN: episode["total_reward"]} if counts else {}
    return {EVALUATION_RETURN: episode["total_reward"]} if episode["fair"] else {}


def _point(news: News, series: Series, value: float) -> Point:
    about: dict[str, Any] = news.data
    if news.kind == "metrics":
        return Point(about["time"], about["rows"], about["updates"], value)
    before = series.points[-1].rows if series.points else 0
    return Point(about["ended_at"], before + about["steps"] + 1, about["policy_last"], value)
