"""Metrics and episode returns over time."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query

from server.api.deps import Running
from server.api.schemas import MetricsView, SeriesView
from server.storage import Storage

EPISODE_RETURN = "episode_return"

Point = tuple[float, int, float]  # time, updates, value

router = APIRouter(prefix="/metrics", tags=["metrics"])


@router.get("")
async def metrics(
    service: Running,
    experiment: str,
    name: Annotated[list[str] | None, Query()] = None,
    since: float = 0.0,
    points: Annotated[int, Query(ge=1, le=10_000)] = 500,
) -> MetricsView:
    """The newest value of every metric, and the series named, thinned to at most `points`.

    `episode_return` is the sum of rewards of each episode; its `updates` is its policy's version.
    """
    service.experiments.get(experiment)
    storage = service.storage
    latest = service.experiments.latest_metrics(experiment)
    series = {
        one: _series(
            thin(await asyncio.to_thread(_points, storage, experiment, one, since), points)
        )
        for one in name or []
    }
    return MetricsView(experiment=experiment, latest=latest, series=series)


def thin(points: list[Point], most: int) -> list[Point]:
    """At most `most` points: each is the mean of neighbours, at the place of the last of them."""
    width = -(-len(points) // most) or 1
    groups = [points[i : i + width] for i in range(0, len(points), width)]
    return [(g[-1][0], g[-1][1], sum(p[2] for p in g) / len(g)) for g in groups]


def _points(storage: Storage, experiment: str, name: str, since: float) -> list[Point]:
    if name == EPISODE_RETURN:
        episodes = storage.episodes(experiment, since)
        return [(e.ended_at, e.policy_last, e.total_reward) for e in episodes]
    return [(m.time, m.updates, m.value) for m in storage.metrics(experiment, name, since)]


def _series(points: list[Point]) -> SeriesView:
    return SeriesView(
        time=[p[0] for p in points],
        updates=[p[1] for p in points],
        value=[p[2] for p in points],
    )
