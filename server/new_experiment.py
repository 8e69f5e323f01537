"""What an operator says of an experiment."""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from robot_client.schema import Json
from server.datasets.demonstrations import Beginning
from server.evaluation.settings import EvaluationSettings, RolloutSettings
from server.job import LearnerSettings
from server.storage import Experiment

_NO_NUL = r"^[^\x00]*$"  # PostgreSQL takes no others
RobotName = Annotated[str, Field(min_length=1, max_length=200, pattern=_NO_NUL)]
DatasetName = Annotated[str, Field(max_length=200, pattern=_NO_NUL)]
Name = Annotated[
    str,
    Field(min_length=1, max_length=80, pattern=_NO_NUL, description="What people call it."),
]
Notes = Annotated[
    str, Field(max_length=10_000, pattern=_NO_NUL, description="Whatever people want to add.")
]


def as_json(value: dict[str, Any]) -> dict[str, Any]:
    """Raise ValueError for what parses, though it is no JSON: NaN, or half a surrogate pair."""
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    return value


class NewExperiment(LearnerSettings):
    """What it takes to create an experiment."""

    name: Name
    agent: str = Field(description="Name of the algorithm; GET /api/v1/agents lists them.")
    preset: str | None = Field(
        default=None, description="Named settings of the agent, to begin with; none: its defaults."
    )
    config: Annotated[dict[str, Any], AfterValidator(as_json)] = Field(
        default_factory=dict, description="Further settings; the agent's JSON schema says which."
    )
    robots: tuple[RobotName, ...] = Field(
        default=(), strict=False, description="Robots that may join; none: any robot that is free."
    )
    demonstrations: tuple[DatasetName, ...] = Field(
        default=(), strict=False, description="Datasets whose rows it begins with."
    )
    notes: Notes = ""
    evaluation: EvaluationSettings = EvaluationSettings()
    rollout: RolloutSettings = RolloutSettings()


class ExperimentChange(BaseModel):
    """What may be changed of an experiment at any time; what is left out stays."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Name | None = None
    notes: Notes | None = None
    evaluation: EvaluationSettings | None = None
    rollout: RolloutSettings | None = None

    def apply(self, experiment: Experiment) -> None:
        """Make the change."""
        for field in self.model_fields_set:
            if (value := self.model_dump(mode="json")[field]) is not None:
                setattr(experiment, field, value)


class ConfigChecker(Protocol):
    """Knows the agents."""

    async def check(self, agent: str, preset: str | None, config: Json) -> Json:
        """The config with all defaults filled in. Raises Invalid on the first wrong field."""
        ...


def new_id() -> str:
    """The id of an experiment that is about to be created."""
    return secrets.token_hex(4)


def copy_of(experiment: Experiment) -> NewExperiment:
    """What is to be created for a copy of the experiment."""
    return NewExperiment(
        name=f"{experiment.name[:73]} (copy)",
        agent=experiment.agent,
        config=experiment.config,
        robots=tuple(experiment.robots),
        notes=experiment.notes,
        demonstrations=tuple(experiment.demonstrations),
        evaluation=EvaluationSettings.model_validate(experiment.evaluation),
        rollout=RolloutSettings.model_validate(experiment.rollout),
        **experiment.settings,
    )


def new_row(
    name: str, new: NewExperiment, config: Json, begun: Beginning, now: float
) -> Experiment:
    """The experiment as it is stored under the id `name`, with the checked config."""
    return Experiment(
        id=name,
        name=new.name,
        agent=new.agent,
        settings=new.model_dump(include=set(LearnerSettings.model_fields)),
        config=config,
        robots=list(new.robots),
        rows=begun.rows,
        state="created",
        reason="",
        observation_space=begun.observation_space,
        action_space=begun.action_space,
        created_at=now,
        updated_at=now,
        notes=new.notes,
        demonstrations=dict(begun.datasets),
        evaluation=new.evaluation.model_dump(mode="json"),
        rollout=new.rollout.model_dump(mode="json"),
    )
