"""What a learner is to do: `experiment.json`, which the service writes and the learner reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

FILE = "experiment.json"


class LearnerSettings(BaseModel):
    """How an experiment's learner works, whatever the agent is."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    train_ratio: float = Field(
        default=64.0, gt=0, le=65536, description="Rows replayed per row stored."
    )
    min_rows: int = Field(default=1000, ge=1, description="Rows stored before learning begins.")
    max_debt: int = Field(
        default=100, ge=1, description="Updates it may be behind; those beyond are dropped."
    )
    capacity: int = Field(default=1_000_000, ge=1000, description="Newest rows that are replayed.")
    replay_on_device: bool = Field(
        default=False, description="Keep a copy of these rows in the device's memory, all of them."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the learner's randomness.")
    device: str = Field(
        default="auto", description="cpu, cuda, cuda:1 ...; auto takes a GPU if any."
    )
    threads: int = Field(default=1, ge=1, le=256, description="CPU threads of the learner.")
    publish_s: float = Field(default=2.0, gt=0, description="Seconds between policy versions.")
    checkpoint_s: float = Field(default=60.0, gt=0, description="Seconds between checkpoints.")
    report_s: float = Field(default=30.0, gt=0, description="Seconds between pictures.")


class Job(LearnerSettings):
    """One experiment as its learner sees it."""

    id: str = Field(description="Id of the experiment; names its directory.")
    agent: str = Field(description="Registered name of the agent.")
    config: dict[str, Any] = Field(description="The agent's own configuration.")
    observation_space: dict[str, Any] = Field(description="As robot_client.schema.space_to_json.")
    action_space: dict[str, Any] = Field(description="As robot_client.schema.space_to_json.")
    task: dict[str, Any] = Field(
        default_factory=dict, description="Of its first robot, as robot_client.schema.Task."
    )

    @staticmethod
    def read(directory: Path) -> Job:
        """Read the job of an experiment's directory."""
        return Job.model_validate_json((directory / FILE).read_bytes())
