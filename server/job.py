"""What a learner is to do: `experiment.json`, which the service writes and the learner reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

FILE = "experiment.json"


class Job(BaseModel):
    """One experiment as its learner sees it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(description="Id of the experiment; names its directory.")
    agent: str = Field(description="Registered name of the agent.")
    config: dict[str, Any] = Field(description="The agent's own configuration.")
    observation_space: dict[str, Any] = Field(description="As robot_client.schema.space_to_json.")
    action_space: dict[str, Any] = Field(description="As robot_client.schema.space_to_json.")
    train_ratio: float = Field(
        default=256.0,
        gt=0,
        description="Replayed rows per recorded row: throttles the learner only.",
    )
    min_rows: int = Field(default=1000, ge=1, description="Rows recorded before the first update.")
    max_debt: int = Field(
        default=100, ge=1, description="Updates it may be behind; those beyond are dropped."
    )
    capacity: int = Field(default=1_000_000, ge=1000, description="Newest rows that are replayed.")
    seed: int = Field(default=0, ge=0, description="Seed of the agent and of sampling.")
    device: str = Field(
        default="auto", description="cpu, cuda, cuda:1 ...; auto takes a GPU if any."
    )
    threads: int = Field(default=1, ge=1, description="CPU threads of the learner.")
    publish_s: float = Field(default=2.0, gt=0, description="Seconds between policy versions.")
    checkpoint_s: float = Field(default=60.0, gt=0, description="Seconds between checkpoints.")
    report_s: float = Field(default=30.0, gt=0, description="Seconds between pictures.")

    @staticmethod
    def read(directory: Path) -> Job:
        """Read the job of an experiment's directory."""
        return Job.model_validate_json((directory / FILE).read_bytes())
