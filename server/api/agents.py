"""Which agents are there, and what can be set?"""

from __future__ import annotations

from fastapi import APIRouter

from server.api.deps import Running
from server.api.schemas import AgentView

router = APIRouter(prefix="/agents", tags=["agents"])


@router.get("")
async def list_agents(service: Running) -> list[AgentView]:
    """Every agent with the JSON schema of its config. The first call may take some seconds."""
    return [
        AgentView(config_schema=agent.pop("schema"), **agent)
        for agent in map(dict, await service.catalog.agents())
    ]
