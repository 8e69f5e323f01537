"""The JSON that the API answers with."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from server.attendance import RobotState
from server.evaluation.settings import EvaluationSettings, RolloutSettings
from server.evaluation.statistics import estimate
from server.marks import Outcome
from server.states import State, Verb
from server.storage import VersionReturns


class View(BaseModel):
    """Base of all answers; can be filled from an object's attributes."""

    model_config = ConfigDict(from_attributes=True, extra="forbid", frozen=True)


class HealthView(View):
    """The server is up. `experiments` counts those that run."""

    status: str
    version: str
    experiments: int
    robots: int


class ReadyView(View):
    """The server can do its work."""

    status: str


class AgentView(View):
    """An algorithm, and the JSON schema of its config; `error` says why it has none."""

    name: str
    doc: str
    presets: list[str]
    preset_configs: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="What each preset sets."
    )
    config_schema: dict[str, Any] | None
    accepts: list[str] = Field(
        description="Of continuous and discrete actions, vectors and images observed, and goals.",
        examples=[["continuous", "discrete", "vectors", "images"]],
    )
    error: str | None


class LearnerView(View):
    """How an experiment's learner is; see `server.supervisor.Status`."""

    state: str
    reason: str
    tail: str
    updates: int
    restarts: int
    pid: int | None
    waits: str = Field(description="What it waits for before its first update; empty for nothing.")


class ExperimentView(View):
    """An experiment, its learner, and what can be done to it (`allowed`)."""

    id: str
    name: str
    notes: str
    agent: str
    config: dict[str, Any]
    robots: list[str]
    settings: dict[str, Any]
    rows: int
    state: State
    reason: str
    observation_space: dict[str, Any] | None
    action_space: dict[str, Any] | None
    created_at: float
    updated_at: float
    learner: LearnerView
    policy_version: int | None
    policy_offered: int | None
    evaluation: EvaluationSettings
    rollout: RolloutSettings
    allowed: list[Verb]
    demonstrations: dict[str, str] = Field(
        description="Datasets that it began with, and the SHA-256 of their contents."
    )


class EpisodeView(View):
    """A finished episode and what people said of it; see `server.storage.Episode`.

    `evaluation` is the number of the evaluation that it was played for, null to learn. `ending`:
    `ended` by its task, by its `time limit`, `aborted` before either, or `cut short` by one of the
    last two in an episode in which a person drove. The return of one that was aborted counts not.
    """

    id: str
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
    ending: Literal["ended", "time limit", "aborted", "cut short"]
    ended_at: float
    evaluation: int | None
    fair: bool
    safety_events: int
    moved_by_limits: float
    outcome: Outcome | None
    discarded: bool
    human_steps: int = Field(description="Steps that a person chose.")
    interventions: int = Field(description="How often a person took over.")


class EpisodeMark(View):
    """What to say of an episode; what is left out stays."""

    outcome: Outcome | None = None
    discarded: bool | None = None


class SignalsView(View):
    """Numbers of an episode: `row` are the indices of the rows shown, of `rows` in all."""

    rows: int
    row: list[int]
    columns: dict[str, list[Any]]
    cameras: list[str]


class EventView(View):
    """Something that an operator should know."""

    experiment: str | None
    robot: str | None
    kind: str
    text: str
    time: float


class RobotView(View):
    """A robot, and its last heartbeat where it is connected."""

    name: str
    experiment: str | None
    assigned: str | None = Field(description="The only experiment that it may join, if any.")
    connected: bool
    state: RobotState = Field(
        default="offline",
        description="`waiting`: it says hello, and no experiment takes it (`reason`). `silent`: it"
        " is missed by a running experiment, and said no goodbye.",
    )
    control_hz: float
    task: dict[str, Any]
    client: str
    seen_at: float
    silent_s: float | None = Field(default=None, description="Seconds since its last message.")
    epoch: str | None = None
    session_rows: int | None = Field(default=None, description="Stored since it connected.")
    policy_version: int | None = None
    policy_offered: int | None = None
    policy_age_s: float | None = Field(
        default=None, description="Seconds since that version was published."
    )
    safety: str | None = None
    reason: str | None = None
    backlog_rows: int | None = None
    loop_hz: float | None = None
    missed_ticks: int | None = None
    latency: float | None = Field(
        default=None, description="Seconds of the slowest of the last choices of an action."
    )
    episode: int | None = None
    surprise: float | None = Field(
        default=None,
        description="Nats by which the last observation differed from what the robot's model"
        " expected; below 0 where its policy does not say.",
    )
    evaluation: int | None = Field(default=None, description="That it plays episodes for.")
    has_camera: bool = False
    driver: str | None = Field(
        default=None, description="The person who drives it; empty when none does."
    )


class Assignment(View):
    """Where a robot belongs; null: wherever there is a place."""

    experiment: str | None = Field(max_length=200, examples=["5f0c1a2b"])


class CommandView(View):
    """A command that is on its way to a robot."""

    robot: str
    verb: str
    id: int


class OrderView(CommandView):
    """A command, and what became of it: `error` says why it was not obeyed."""

    done: bool
    error: str


class ReturnsView(View):
    """Returns of episodes, but for the discarded: the lowest, the highest, and the bounds of the
    95 % interval of their mean by Student; null for fewer than two."""

    episodes: int
    mean: float
    low: float
    high: float
    lower: float | None
    upper: float | None

    @staticmethod
    def of(found: VersionReturns) -> ReturnsView:
        """With the interval."""
        about = estimate(found.episodes, found.mean, found.squares)
        return ReturnsView(low=found.low, high=found.high, **about._asdict())


class SideView(View):
    """One side of a compression: a version, the size of its files, and its returns as those of
    `PolicyView`."""

    experiment: str
    version: int
    nbytes: int
    returns: ReturnsView | None
    evaluation: ReturnsView | None


class CompressionView(View):
    """A student beside its teachers; `share` of their bytes are its own. Teachers whose experiment
    has been deleted are left out, and there is no student before its first version."""

    teachers: list[SideView]
    student: SideView | None
    share: float | None


class PolicyView(View):
    """A version of a policy. `available`: its files are there; `robots` are its canaries.

    `returns` are of the episodes to learn that ended with it, `evaluation` of those without
    exploring that it played as a whole; `best`: no version did better in these, by the lower bound.
    """

    version: int
    updates: int
    created_at: float
    kind: str | None
    nbytes: int
    available: bool
    offered: bool
    robots: list[str]
    returns: ReturnsView | None
    evaluation: ReturnsView | None
    best: bool


class RolloutView(View):
    """Versions by what they are: `offered` to all robots that are no canaries.

    `pinned` and `canaries` are the operators'; `trial` is what the rule does, if it is on.
    """

    newest: int | None
    offered: int | None
    pinned: int | None
    canaries: dict[str, int]
    best: int | None
    trial: TrialView | None


class TrialView(View):
    """What the rule of the roll-out does: `stable` is offered to all but the `canaries`, which try
    `candidate`; no version up to `refused` is tried again."""

    stable: int
    previous: int | None = Field(description="What `stable` is still compared with.")
    candidate: int | None
    canaries: list[str]
    refused: int | None


class EvaluationView(View):
    """Episodes without exploring; `returns` are those of the `played` ones that count so far."""

    id: int
    experiment: str
    version: int
    robots: list[str]
    episodes: int
    replay: bool
    scheduled: bool
    checkpoint: int | None = Field(description="Nearest to the version when it began.")
    state: Literal["running", "done", "cancelled", "failed"]
    reason: str
    created_at: float
    ended_at: float | None
    played: int
    returns: list[float]
    mean: float | None
    lower: float | None
    upper: float | None


class Canary(View):
    """The version that one robot is to try."""

    version: int = Field(ge=0, le=2**53, strict=True, examples=[7])


class CheckpointView(View):
    """A checkpoint after `number` updates; `aside`: an older one was restored in its place; `kept`:
    it belongs to the best policy, or to one that is being evaluated."""

    number: int
    nbytes: int
    saved_at: float
    aside: bool
    kept: bool


class StreamView(View):
    """A robot's epoch: rows 0 to next_seq - 1 are stored."""

    robot: str
    epoch: str
    next_seq: int
    episode: int
    ended: bool


class ReplayView(View):
    """How much an experiment has stored."""

    rows: int
    chunks: int
    discarded_episodes: int
    nbytes: int
    streams: list[StreamView]


class ReplayAuditView(View):
    """What a walk over all rows has found; whole means that `problems` is empty."""

    rows: int
    chunks: int
    streams: int
    problems: list[str]


class SeriesView(View):
    """One metric over time: lists of the same length; `value` is the mean of each point."""

    time: list[float]
    rows: list[int]
    updates: list[int]
    value: list[float]
    low: list[float]
    high: list[float]


class MetricsView(View):
    """Metrics of an experiment: the newest value of each, and the series that were asked for."""

    experiment: str
    latest: dict[str, float]
    series: dict[str, SeriesView]


def columns_of(view: type[View], row: object) -> dict[str, object]:
    """The attributes of a row that a view shows."""
    return {name: getattr(row, name, None) for name in view.model_fields}
