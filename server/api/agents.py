"""Which agents are there, and what can be set?"""

from __future__ import annotations

from fastapi import APIRouter

from server.api.deps import Running
from server.api.problems import problems
from server.api.schemas import AgentView
from server.errors import NotFound

router = APIRouter(prefix="/agents", tags=["agents"])


@router.get("")
async def list_agents(service: Running) -> list[AgentView]:
    """Every agent with the JSON schema of its config. The first call may take some seconds."""
    return [
        AgentView(config_schema=agent.pop("schema"), **agent)
        for agent in map(dict, await service.catalog.agents())
    ]


@router.get("/{agent}", responses=problems(404))
async def get_agent(agent: str, service: Running) -> AgentView:
    """One agent."""
    found = next((view for view in await list_agents(service) if view.name == agent), None)
    if found is None:
        raise NotFound(f"no agent {agent!r}")
    return found
