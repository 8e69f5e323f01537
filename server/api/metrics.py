"""Metrics and episode returns over time."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from server.api.deps import Running
from server.api.params import Time
from server.api.problems import answers, problems
from server.api.schemas import MetricsView, SeriesView
from server.storage import Bucket, Storage

EPISODE_RETURN = "episode_return"
HUMAN_SHARE, INTERVENTIONS = "human_share", "interventions"
EVALUATION_RETURN = "evaluation_return"
OF_EPISODES = frozenset({EPISODE_RETURN, EVALUATION_RETURN, HUMAN_SHARE, INTERVENTIONS})
_FOREVER = 1e300

router = APIRouter(prefix="/metrics", tags=["metrics"])

Experiment = Annotated[str, Query(description="Id of an experiment.")]
Names = Annotated[list[str] | None, Query(description="Metrics; repeatable.", max_length=100)]


@router.get("", responses=problems(404))
async def query_metrics(
    service: Running,
    experiment: Experiment,
    name: Names = None,
    since: Time = None,
    until: Time = None,
    points: Annotated[int, Query(ge=1, le=10_000, description="Points at most.")] = 500,
) -> MetricsView:
    """The newest value of every metric, and the series named, thinned to at most `points`.

    A point is the mean of the values of an equal length of time, with the lowest and the highest.
    `episode_return` is the sum of rewards of each episode played to learn that was not aborted
    and in which no person chose an action, `evaluation_return` that of each fair one without
    exploring, `human_share` the share of an episode's steps that a person chose, `interventions`
    how often one took over; their `updates` is its policy's version, their `rows` those of the
    series' own episodes so far.
    """
    service.experiments.get(experiment)
    await service.writer.settle()
    span = (0.0 if since is None else since, _FOREVER if until is None else until)
    found = {
        one: await asyncio.to_thread(_buckets, service.storage, experiment, one, span, points)
        for one in name or []
    }
    return MetricsView(
        experiment=experiment,
        latest=service.experiments.latest_metrics(experiment),
        series={one: _series(buckets) for one, buckets in found.items()},
    )


@router.get("/names", responses=problems(404))
async def list_metric_names(service: Running, experiment: Experiment) -> list[str]:
    """Every metric that the experiment has, and those of its episodes."""
    service.experiments.get(experiment)
    return sorted({*OF_EPISODES, *service.experiments.latest_metrics(experiment)})


@router.get(
    "/export.csv",
    response_class=StreamingResponse,
    responses=problems(404) | answers("text/csv"),
)
async def export_metrics(
    service: Running, experiment: Experiment, name: Names = None
) -> StreamingResponse:
    """All values of these metrics, or of all, as CSV: name, time, updates, rows, value."""
    service.experiments.get(experiment)
    await service.writer.settle()
    lines = _csv(service.storage, experiment, name or [])
    headers = {"Content-Disposition": f'attachment; filename="{experiment}-metrics.csv"'}
    return StreamingResponse(lines, media_type="text/csv", headers=headers)


def _csv(storage: Storage, experiment: str, names: list[str]) -> Iterator[str]:
    line = io.StringIO()
    write = csv.writer(line)
    write.writerow(("name", "time", "updates", "rows", "value"))
    for metric in storage.every_metric(experiment, names):
        write.writerow((metric.name, metric.time, metric.updates, metric.rows, metric.value))
        if line.tell() > 2**16:
            yield line.getvalue()
            line.seek(0)
            line.truncate()
    yield line.getvalue()


def _buckets(
    storage: Storage, experiment: str, name: str, span: tuple[float, float], points: int
) -> list[Bucket]:
    if name in (EPISODE_RETURN, EVALUATION_RETURN):
        return storage.return_buckets(experiment, *span, points, name == EVALUATION_RETURN)
    if name in OF_EPISODES:
        return storage.human_buckets(experiment, name == HUMAN_SHARE, *span, points)
    return storage.metric_buckets(experiment, name, *span, points)


def _series(buckets: list[Bucket]) -> SeriesView:
    return SeriesView(
        time=[b.time for b in buckets],
        rows=[b.rows for b in buckets],
        updates=[b.updates for b in buckets],
        value=[b.mean for b in buckets],
        low=[b.low for b in buckets],
        high=[b.high for b in buckets],
    )
