"""What an operator says of an experiment."""

from __future__ import annotations

import secrets
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from robot_client.schema import Json
from server.job import LearnerSettings
from server.storage import Experiment


class NewExperiment(LearnerSettings):
    """What it takes to create an experiment."""

    name: str = Field(min_length=1, max_length=80, description="What people call it.")
    agent: str = Field(description="Name of the algorithm; GET /api/v1/agents lists them.")
    preset: str | None = Field(
        default=None, description="Named settings of the agent, to begin with; none: its defaults."
    )
    config: dict[str, Any] = Field(
        default_factory=dict, description="Further settings; the agent's JSON schema says which."
    )
    robots: tuple[str, ...] = Field(
        default=(), strict=False, description="Robots that may join; none: any robot that is free."
    )
    notes: str = Field(default="", max_length=10_000, description="Whatever people want to add.")


class ExperimentChange(BaseModel):
    """What may be changed of an experiment at any time; what is left out stays."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str | None = Field(
        default=None, min_length=1, max_length=80, description="What people call it."
    )
    notes: str | None = Field(
        default=None, max_length=10_000, description="Whatever people want to add."
    )


class ConfigChecker(Protocol):
    """Knows the agents."""

    async def check(self, agent: str, preset: str | None, config: Json) -> Json:
        """The config with all defaults filled in. Raises Invalid on the first wrong field."""
        ...


def new_row(new: NewExperiment, config: Json, now: float) -> Experiment:
    """The experiment as it is stored, with the checked config."""
    return Experiment(
        id=secrets.token_hex(4),
        name=new.name,
        agent=new.agent,
        settings=new.model_dump(include=set(LearnerSettings.model_fields)),
        config=config,
        robots=list(new.robots),
        rows=0,
        state="created",
        reason="",
        observation_space=None,
        action_space=None,
        created_at=now,
        updated_at=now,
        notes=new.notes,
    )
