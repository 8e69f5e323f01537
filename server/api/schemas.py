"""The JSON that the API answers with."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from server.states import Verb


class View(BaseModel):
    """Base of all answers; can be filled from an object's attributes."""

    model_config = ConfigDict(from_attributes=True, extra="forbid", frozen=True)


class HealthView(View):
    """The server is up. `experiments` counts those that run."""

    status: str
    version: str
    experiments: int
    robots: int


class AgentView(View):
    """An algorithm, and the JSON schema of its config; `error` says why it has none."""

    name: str
    doc: str
    presets: list[str]
    config_schema: dict[str, Any] | None
    error: str | None


class LearnerView(View):
    """How an experiment's learner is; see `server.supervisor.Status`."""

    state: str
    reason: str
    tail: str
    updates: int
    restarts: int
    pid: int | None


class ExperimentView(View):
    """An experiment, its learner, and what can be done to it (`allowed`)."""

    id: str
    name: str
    agent: str
    config: dict[str, Any]
    robots: list[str]
    settings: dict[str, Any]
    rows: int
    state: str
    reason: str
    observation_space: dict[str, Any] | None
    action_space: dict[str, Any] | None
    created_at: float
    updated_at: float
    learner: LearnerView
    policy_version: int | None
    allowed: list[Verb]


class EpisodeView(View):
    """A finished episode; see `server.storage.Episode`."""

    robot: str
    task: str
    epoch: str
    episode: int
    steps: int
    total_reward: float
    policy_first: int
    policy_last: int
    source: str
    is_terminal: bool
    ended_at: float


class EventView(View):
    """Something that an operator should know."""

    robot: str | None
    kind: str
    text: str
    time: float


class RobotView(View):
    """A robot, and its last heartbeat where it is connected."""

    name: str
    experiment: str | None
    connected: bool
    control_hz: float
    task: dict[str, Any]
    client: str
    policy_version: int | None = None
    safety: str | None = None
    reason: str | None = None
    backlog_rows: int | None = None
    loop_hz: float | None = None
    missed_ticks: int | None = None
    episode: int | None = None
    surprise: float | None = Field(
        default=None,
        description="Nats by which the last observation differed from what the robot's model"
        " expected; below 0 where its policy does not say.",
    )
    has_camera: bool = False


class CommandView(View):
    """A command that is on its way to a robot."""

    robot: str
    verb: str
    id: int


class SeriesView(View):
    """One metric over time: three lists of the same length."""

    time: list[float]
    updates: list[int]
    value: list[float]


class MetricsView(View):
    """Metrics of an experiment: the newest value of each, and the series that were asked for."""

    experiment: str
    latest: dict[str, float]
    series: dict[str, SeriesView]
