"""What an operator should know, and what happens now."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from server.api.deps import Running
from server.api.paging import Page, Paged
from server.api.params import Text
from server.api.problems import answers, problems
from server.api.robots import robot_views
from server.api.schemas import EventView
from server.live import watch
from server.service import Service

router = APIRouter(tags=["events"])


@router.get("/events")
async def list_events(
    service: Running,
    paging: Paged,
    experiment: Text = None,
    robot: Text = None,
    kind: Text = None,
) -> Page[EventView]:
    """What an operator should know, newest first."""
    await service.writer.settle()
    found, total = await asyncio.to_thread(
        service.storage.events, experiment, robot, kind, paging.offset, paging.limit
    )
    return paging.page([EventView.model_validate(event) for event in found], total)


@router.get(
    "/live",
    response_class=StreamingResponse,
    responses=problems(404) | answers("text/event-stream"),
)
async def watch_live(
    service: Running,
    experiment: Annotated[str | None, Query(description="Only what concerns this one.")] = None,
) -> StreamingResponse:
    """Server-sent events without end: `event`, `metrics`, `experiment`, `evaluation` when one
    begins or ends, and `robots` whenever one of them has changed; `lost` says how many were left
    out because the reader was slow."""
    if experiment is not None:
        service.experiments.get(experiment)

    def robots() -> list[dict[str, object]]:
        return _robots(service, experiment)

    return StreamingResponse(
        watch(service.experiments.feed, experiment, robots),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _robots(service: Service, experiment: str | None) -> list[dict[str, object]]:
    views = robot_views(service, service.experiments.roster.all())
    return [
        view.model_dump(mode="json")
        for view in views
        if experiment is None or view.experiment == experiment
    ]
