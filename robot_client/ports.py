"""What the control loop needs of its surroundings, and what it tells them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_client.bundle import Manifest
from robot_client.messages import UNKNOWN, CommandDone, Event, PolicyReport
from robot_client.robot import Action
from robot_client.schema import (
    ACTION,
    ACTION_REQUESTED,
    EXTRA_PREFIX,
    NO_TAG,
    STEP_DTYPES,
    Columns,
    Source,
    Tag,
)

Arrays = Mapping[str, NDArray[Any]]
Report = CommandDone | Event | PolicyReport


@dataclass(frozen=True)
class Carry:
    """What a policy remembers from step to step.

    Args:
        state: (1, ...) arrays by carry name.
        prev_action: the action executed last, (A,) float32 or () int64.
    """

    state: Arrays
    prev_action: Action

    def executed(self, action: Action) -> Carry:
        """The same, after the robot has executed `action` instead of what was requested."""
        return replace(self, prev_action=action)


class Policy(Protocol):
    """Something that chooses actions, identified by its manifest."""

    manifest: Manifest
    source: Source

    def init(self) -> Carry:
        """The carry before the first step."""
        ...

    def step(
        self, carry: Carry, obs: Arrays, is_first: bool, rng: np.random.Generator, explore: bool
    ) -> tuple[Action, Carry, dict[str, NDArray[Any]]]:
        """Choose an action. Returns it, the next carry and the extras to be recorded."""
        ...

    def blank_extras(self) -> dict[str, NDArray[Any]]:
        """Zeros in the form of the extras, for rows that the policy did not act on."""
        ...


@dataclass(frozen=True)
class Choice:
    """An executed action and where it came from."""

    executed: Action
    requested: Action
    source: Source
    version: int
    extras: Arrays


def row(obs: Arrays, step: Mapping[str, Any], choice: Choice) -> Columns:
    """The columns of a row: observation, the numbers of the step, and what was chosen."""
    columns = {k: np.asarray(v) for k, v in obs.items()}
    columns |= {k: np.asarray(v, STEP_DTYPES[k]) for k, v in step.items()}
    columns |= {ACTION: choice.executed, ACTION_REQUESTED: choice.requested}
    return columns | {f"{EXTRA_PREFIX}{k}": v for k, v in choice.extras.items()}


def surprise(extras: Arrays) -> float:
    """How far the observation was from what the policy's model expected, in nats; see
    `messages.Heartbeat`. What is not finite cannot travel: it is UNKNOWN."""
    found = float(extras.get("surprise", UNKNOWN))
    return found if math.isfinite(found) else UNKNOWN


class Recorder(Protocol):
    """Where rows go; the spool is one."""

    @property
    def backlog(self) -> int:
        """Number of rows that the server has not acknowledged."""
        ...

    @property
    def next_episode(self) -> int:
        """A number that no episode has had."""
        ...

    def append(self, episode: int, row: Columns, tag: Tag = NO_TAG) -> int:
        """Keep one row (arrays without a rows axis); its seq. Raises SpoolFull."""
        ...


class PolicySource(Protocol):
    """Where policies come from; the policy cache is one."""

    def take(self) -> Policy | None:
        """The newest policy since the last call. Never waits."""
        ...

    def reports(self) -> list[PolicyReport]:
        """The bundles refused since the last call. Never waits."""
        ...


class ServerLink(Protocol):
    """The way to the server; the link is one."""

    @property
    def server_age(self) -> float:
        """Seconds since the server was heard of, infinite before."""
        ...

    def send(self, message: Report) -> None:
        """Send when connected. Never waits."""
        ...


class Offline:
    """A link to nowhere, for a robot that needs no server: none is ever missed."""

    server_age = 0.0

    def send(self, message: Report) -> None:
        """Drop the message."""


@dataclass(frozen=True)
class Episode:
    """What an episode came to.

    Args:
        number: within the recorder's epoch.
        steps: how many actions were executed.
        total_reward: sum of the rewards.
        policy_version: at its end.
        ending: why it ended.
    """

    number: int
    steps: int
    total_reward: float
    policy_version: int
    ending: str


@dataclass(frozen=True)
class Summary:
    """What a run came to. Latencies are those of choosing an action, in seconds."""

    episodes: int
    steps: int
    rows: int
    missed_ticks: int
    swaps: int
    interventions: Mapping[str, int]
    latency_p50: float
    latency_p99: float
