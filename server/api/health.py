"""Is the server up?"""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter

from server.api.deps import Running
from server.api.schemas import HealthView

router = APIRouter(tags=["health"])


@router.get("/health")
async def health(service: Running) -> HealthView:
    """Answer while the server is up."""
    running = [e for e in service.experiments.all() if e.state == "running"]
    return HealthView(
        status="ok",
        version=version("dreamfleet"),
        experiments=len(running),
        robots=len(service.fleet.sessions()),
    )
