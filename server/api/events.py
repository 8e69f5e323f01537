"""What an operator should know, and what happens now."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from robot_client.clock import SystemClock
from server.api.deps import Running
from server.api.paging import Page, Paged
from server.api.params import Text
from server.api.problems import answers, problems
from server.api.robots import robot_views
from server.api.schemas import EventView
from server.live import watch
from server.service import Service

router = APIRouter(tags=["events"])
_MOST_MISSED = 100


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
    last_event_id: Annotated[
        str | None, Header(description="The last id that the reader got; browsers send it.")
    ] = None,
) -> StreamingResponse:
    """Server-sent events without end: `event`, `metrics`, `experiment`, `episode` (one has ended),
    `report` (there is a new picture), `evaluation` (one begins or ends), and `robots` whenever one
    of them has changed; `lost` says how many were left out because the reader was slow. A reader
    that comes back, after a restart of the server too, gets the `event`s that it has missed, the
    newest hundred at most."""
    if experiment is not None:
        service.experiments.get(experiment)

    def robots() -> list[dict[str, object]]:
        return _robots(service, experiment)

    async def missed() -> list[dict[str, object]]:
        return await _missed(service, experiment, _time(last_event_id))

    return StreamingResponse(
        watch(service.experiments.feed, experiment, robots, missed, SystemClock().wall()),
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


async def _missed(
    service: Service, experiment: str | None, since: float | None
) -> list[dict[str, object]]:
    """Events after a time that concern the experiment or nobody, oldest first."""
    if since is None:
        return []
    await service.writer.settle()
    found = await asyncio.to_thread(service.storage.events_since, since, experiment, _MOST_MISSED)
    return [EventView.model_validate(event).model_dump(mode="json") for event in found]


def _time(text: str | None) -> float | None:
    """The time that an id of an event is; None when it is none."""
    try:
        return float(text) if text else None
    except ValueError:
        return None
