"""Is the server up, can it work, and how much does it?"""

from __future__ import annotations

import asyncio
from importlib.metadata import version

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from sqlalchemy.exc import SQLAlchemyError

from server.api.deps import Running
from server.api.problems import problems
from server.api.schemas import HealthView, ReadyView
from server.errors import NotReady
from server.prometheus import exposition

router = APIRouter(tags=["health"])
scraped = APIRouter(tags=["health"])


@router.get("/health")
async def get_health(service: Running) -> HealthView:
    """Answer while the server is up."""
    running = [e for e in service.experiments.all() if e.state == "running"]
    return HealthView(
        status="ok",
        version=version("dreamfleet"),
        experiments=len(running),
        robots=len(service.fleet.sessions()),
    )


@router.get("/ready", responses=problems(503))
async def get_readiness(service: Running) -> ReadyView:
    """Whether rows can be stored and the database answers; 503 says what is wrong."""
    if service.fleet.problem:
        raise NotReady(f"rows cannot be stored: {service.fleet.problem}")
    try:
        await asyncio.to_thread(service.storage.ping)
    except SQLAlchemyError as error:
        raise NotReady(f"the database does not answer: {type(error).__name__}") from error
    return ReadyView(status="ready")


@scraped.get("/metrics", response_class=PlainTextResponse)
async def get_prometheus_metrics(service: Running) -> PlainTextResponse:
    """The server, its experiments and robots, for Prometheus."""
    text, media_type = exposition(service.experiments, service.fleet)
    return PlainTextResponse(text, media_type=media_type)
