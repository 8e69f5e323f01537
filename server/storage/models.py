"""The tables. Times are seconds since 1970-01-01 UTC; spaces, configs and manifests are JSON."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, false
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON}  # noqa: RUF012 - SQLAlchemy's API


class Experiment(Base):
    """One agent learning from one or more robots.

    The spaces are null until the first robot says hello. `settings` are the learner's, `rows` those
    stored; `reason` says why the state is what it is; `notes` are people's. `demonstrations` are
    the datasets that it began with: name -> SHA-256 of the contents. `evaluation` and `rollout`
    are `server.evaluation.settings`.
    """

    __tablename__ = "experiments"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    agent: Mapped[str]
    config: Mapped[dict[str, Any]]
    robots: Mapped[list[str]]
    settings: Mapped[dict[str, Any]]
    rows: Mapped[int] = mapped_column(BigInteger)  # 32 robots at 20 Hz pass 2**31 in 39 days
    state: Mapped[str]
    reason: Mapped[str]
    observation_space: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    action_space: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[float]
    updated_at: Mapped[float]
    notes: Mapped[str] = mapped_column(server_default="")
    demonstrations: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    evaluation: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    rollout: Mapped[dict[str, Any]] = mapped_column(server_default="{}")


class Robot(Base):
    """A robot that has said hello, as it described itself the last time.

    `experiment` is the one that it joined last, `assigned` the only one that it may join, if any.
    `presence` is `server.attendance.Presence`; `policy_version` is the one that it acted with last.
    """

    __tablename__ = "robots"

    name: Mapped[str] = mapped_column(primary_key=True)
    experiment: Mapped[str | None] = mapped_column(ForeignKey("experiments.id"))
    observation_space: Mapped[dict[str, Any]]
    action_space: Mapped[dict[str, Any]]
    control_hz: Mapped[float]
    task: Mapped[dict[str, Any]]
    client: Mapped[str]
    seen_at: Mapped[float]
    assigned: Mapped[str | None]
    presence: Mapped[str] = mapped_column(server_default="left")
    policy_version: Mapped[int | None]


class Policy(Base):
    """A published policy: its manifest, and after how many updates it was made."""

    __tablename__ = "policies"

    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    updates: Mapped[int]
    manifest: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class Pin(Base):
    """The version that a robot is offered whatever comes later, or all robots: `robot` is then
    empty. Null: the newest again."""

    __tablename__ = "pins"

    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    robot: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int | None]


class Metric(Base):
    """One number that a learner reported."""

    __tablename__ = "metrics"
    __table_args__ = (Index("metrics_by_name", "experiment", "name", "time"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id"))
    name: Mapped[str]
    updates: Mapped[int]
    rows: Mapped[int] = mapped_column(BigInteger)
    time: Mapped[float]
    value: Mapped[float]


class Episode(Base):
    """A finished episode.

    `task` is what the robot's was called then, empty where it is not known; `source` chose most of
    the actions; `ended_at` is when the last row was stored. A person chose `human_steps` of the
    `steps`, in `interventions` take-overs. `evaluation` is null where it was played to learn;
    `fair` says that one version played it, from its beginning to its proper end, and nobody took
    over; `safety_events` are emergency stops, holds and falls, but for the holds of people who
    drive; `moved_by_limits` is how far the policy's executed actions were from those asked for, in
    mean shares of their range. `aborted`: neither its task nor its time limit ended it, and no
    person drove; its return says nothing.
    """

    __tablename__ = "episodes"
    __table_args__ = (Index("episodes_by_end", "experiment", "ended_at"),)

    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    robot: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[str] = mapped_column(primary_key=True)
    episode: Mapped[int] = mapped_column(primary_key=True)
    steps: Mapped[int]
    total_reward: Mapped[float]
    policy_first: Mapped[int]
    policy_last: Mapped[int]
    source: Mapped[str]
    is_terminal: Mapped[bool]
    ended_at: Mapped[float]
    task: Mapped[str] = mapped_column(server_default="")
    human_steps: Mapped[int] = mapped_column(server_default="0")
    interventions: Mapped[int] = mapped_column(server_default="0")
    evaluation: Mapped[int | None]
    fair: Mapped[bool] = mapped_column(server_default=false())
    aborted: Mapped[bool] = mapped_column(server_default=false())
    safety_events: Mapped[int] = mapped_column(server_default="0")
    moved_by_limits: Mapped[float] = mapped_column("intervention", server_default="0")


class Mark(Base):
    """What a person said of an episode, perhaps before its end.

    `outcome` is success, failure or empty. Rows of a `discarded` episode stay where they are and
    are neither learned from nor counted.
    """

    __tablename__ = "marks"

    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    robot: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[str] = mapped_column(primary_key=True)
    episode: Mapped[int] = mapped_column(primary_key=True)
    outcome: Mapped[str]
    discarded: Mapped[bool]


class Evaluation(Base):
    """Episodes that one version of the policy is to play without exploring.

    `state` is running, done, cancelled or failed, and `reason` says why; `rows` are those stored
    when it began; `checkpoint` is the one nearest to the version.
    """

    __tablename__ = "evaluations"
    __table_args__ = (Index("evaluations_by_experiment", "experiment", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id"))
    version: Mapped[int]
    robots: Mapped[list[str]]
    episodes: Mapped[int]
    replay: Mapped[bool]
    scheduled: Mapped[bool]
    rows: Mapped[int]
    checkpoint: Mapped[int | None]
    state: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[float]
    ended_at: Mapped[float | None]


class Course(Base):
    """Where the roll-out of an experiment stands.

    The rule offers `stable` to all robots but the `canaries`, which try `candidate`; `previous` is
    what `stable` took the place of, and is still compared with; no version up to `refused` is tried
    again; `looks` are those taken at the candidate, `watched` those at `stable`. `best` was best
    when evaluated, and `checkpoint` is the one nearest to it.
    """

    __tablename__ = "courses"

    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    stable: Mapped[int | None]
    previous: Mapped[int | None]
    candidate: Mapped[int | None]
    canaries: Mapped[list[str]]
    looks: Mapped[int]
    watched: Mapped[int]
    refused: Mapped[int]
    best: Mapped[int | None]
    checkpoint: Mapped[int | None]


class Report(Base):
    """A picture that a learner drew; `path` is relative to the experiment's directory."""

    __tablename__ = "reports"

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id"), index=True)
    name: Mapped[str]
    path: Mapped[str]
    time: Mapped[float]


class Event(Base):
    """Something that an operator should know."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment: Mapped[str | None] = mapped_column(ForeignKey("experiments.id"))
    robot: Mapped[str | None]
    kind: Mapped[str]
    text: Mapped[str]
    time: Mapped[float]


class Audit(Base):
    """Something that somebody did, or was not let to do.

    Args:
        who: name of the token, `loopback`, `shell:USER` or `unknown`.
        method: of the HTTP request; `shell` for a command on the data directory.
        operation: id of the operation, or the path where there is none.
        parameters: of its path.
        outcome: done, refused or failed; `status` is the HTTP status behind it.
        address: where the request came from.
    """

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[float] = mapped_column(index=True)
    who: Mapped[str]
    method: Mapped[str]
    operation: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    outcome: Mapped[str]
    status: Mapped[int | None]
    address: Mapped[str]
