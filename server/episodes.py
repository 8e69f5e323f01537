"""Sums up episodes while their chunks arrive."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_client.messages import Event
from robot_client.schema import (
    ACTION,
    ACTION_REQUESTED,
    IS_FIRST,
    IS_LAST,
    IS_TERMINAL,
    NO_POLICY,
    POLICY_VERSION,
    REWARD,
    SOURCE,
    Chunk,
    Columns,
    Json,
    Source,
)
from server.human_share import HumanShare
from server.storage import Episode

_OF_POLICIES = frozenset({Source.POLICY, Source.PLANNER, Source.RANDOM, Source.HOLD})
_WAITING = frozenset({"stop: there is no policy yet", "stop: paused by an operator"})

# What the feed tells of an episode that has ended.
_TOLD = (
    "experiment",
    "robot",
    "epoch",
    "episode",
    "steps",
    "total_reward",
    "policy_last",
    "human_steps",
    "interventions",
    "ended_at",
    "evaluation",
    "fair",
    "aborted",
)


@dataclass
class _Sum:
    """An episode so far."""

    number: int
    policy_first: int
    rows: int = 0
    people: int = 0  # rows in which a person had the robot
    total_reward: float = 0.0
    moved: float = 0.0  # sum over the steps
    safety_events: int = 0  # but for holds
    holds: int = 0
    holding: bool = False  # the newest row is a hold
    unwatched: bool = False  # who acted last is a person whom no policy watched
    sources: Counter[int] = field(default_factory=Counter)
    human: HumanShare = field(default_factory=HumanShare)
    versions: set[int] = field(default_factory=set)  # that chose an action


class EpisodeBook:
    """Running sums of the episodes in progress, one per stream.

    An episode whose beginning was stored before this server started is not summed up: half of its
    reward would pass for all of it.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str], _Sum] = {}
        self.humans: dict[tuple[str, str], HumanShare] = {}  # since the server's start
        self._early: Counter[tuple[str, str]] = Counter()  # events before an episode's first rows

    def event(self, robot: str, experiment: str, event: Event) -> None:
        """Count what a robot says of its safety. Its holds are in its rows.

        It says so at once, and rows follow: the event is of the episode that is running or, between
        two, of the next.
        """
        if not is_safety(event):
            return
        running = [s for (e, r, _), s in self._sums.items() if (e, r) == (experiment, robot)]
        if running:
            running[-1].safety_events += 1
        else:
            self._early[experiment, robot] += 1

    def add(
        self, robot: str, experiment: str, chunk: Chunk, now: float, action_space: Any = None
    ) -> Episode | None:
        """Count a stored chunk. Returns the episode when the chunk ends it.

        `action_space` is its description, if known; its range is the unit of `moved_by_limits`.
        """
        columns, stream = chunk.columns, (experiment, robot, chunk.epoch)
        if columns[IS_FIRST][0]:
            self._sums.pop(stream, None)  # the newest comes last
            self._sums[stream] = _Sum(chunk.episode, int(columns[POLICY_VERSION][0]))
            self._sums[stream].safety_events = self._early.pop((experiment, robot), 0)
        so_far = self._sums.get(stream)
        if so_far is None or so_far.number != chunk.episode:
            return None
        so_far.rows += chunk.rows
        so_far.total_reward += float(columns[REWARD].sum(dtype="float64"))
        acted = ~columns[IS_LAST]  # nothing is done after the last row
        so_far.sources.update(columns[SOURCE][acted].tolist())
        people = _by_people(so_far, columns[SOURCE], columns[POLICY_VERSION]) & acted
        so_far.people += int(people.sum())
        so_far.human.add(columns[SOURCE][acted])
        self.humans.setdefault((experiment, robot), HumanShare()).add(columns[SOURCE][acted])
        so_far.versions |= set(columns[POLICY_VERSION][acted].tolist()) - {NO_POLICY}
        so_far.moved += _moved(columns, acted & ~people, action_space or {})
        _count_holds(so_far, columns[SOURCE][acted & ~people].tolist())
        if not columns[IS_LAST][-1]:
            return None
        del self._sums[stream]
        return _finished(robot, experiment, chunk, so_far, now)


def told(episode: Episode, rows: int) -> Json:
    """What the feed tells of an episode that has ended, when the experiment has so many rows."""
    return {name: getattr(episode, name) for name in _TOLD} | {"rows": rows}


def kind_of(event: Event) -> str:
    """The kind under which an operator reads a robot's event: to stand still until it is told what
    to do is a robot's order, and would drown what its safety layer has to say."""
    return "waiting" if event.kind == "safety" and event.text in _WAITING else event.kind


def is_safety(event: Event) -> bool:
    """Whether a robot's event counts as one of its safety: a fall, an emergency stop, or a stop
    by the watchdog. Holds are counted by rows, and those of people who drive are not."""
    stops = event.kind == "safety" and event.text.startswith("estop")
    watchdog = event.kind == "safety_stop" and not event.text.startswith("hold")
    return event.kind == "fall" or stops or watchdog


def _by_people(so_far: _Sum, sources: Any, versions: Any) -> Any:
    """Rows in which a person had the robot, (N,) bool: what they chose, and their holds.

    A policy that watches a person knows their holds, and leaves its version there; one that the
    robot stopped does not know of it. Where no policy watches, holds are of the person who acted
    before them.
    """
    human, holds = sources == Source.HUMAN, sources == Source.HOLD
    unwatched = np.concatenate([[so_far.unwatched], human & (versions == NO_POLICY)])
    last_act = np.maximum.accumulate(np.where(holds, 0, np.arange(1, len(sources) + 1)))
    own = unwatched[last_act]
    so_far.unwatched = bool(own[-1])
    return human | (holds & ((versions != NO_POLICY) | own))


def _count_holds(so_far: _Sum, sources: list[int]) -> None:
    """One hold is one event, however long it lasts."""
    for source in sources:
        holds = source == Source.HOLD
        so_far.holds += holds and not so_far.holding
        so_far.holding = holds


def _moved(columns: Columns, acted: Any, space: Mapping[str, Any]) -> float:
    """Sum over the rows of the mean distance between action asked for and executed, in ranges."""
    if ACTION not in columns or not acted.any():
        return 0.0
    executed, asked = columns[ACTION][acted], columns[ACTION_REQUESTED][acted]
    if executed.ndim == 1:
        return float((executed != asked).sum())
    low = np.asarray(space.get("low", -np.inf), float)
    high = np.asarray(space.get("high", np.inf), float)
    width = np.where(np.isfinite(high - low) & (high > low), high - low, 1.0)
    width = width.reshape(executed.shape[1:]) if width.ndim else width
    distance = np.abs(executed.astype(float) - asked) / width
    total = float(distance.reshape(len(distance), -1).mean(1).sum())
    return total if math.isfinite(total) else 0.0


def _finished(robot: str, experiment: str, chunk: Chunk, total: _Sum, now: float) -> Episode:
    most = total.sources.most_common(1)
    one_version = len(total.versions | {total.policy_first} - {NO_POLICY}) == 1
    by_policy = not total.people and _OF_POLICIES.issuperset(total.sources)
    steps, terminal = total.rows - 1, bool(chunk.columns[IS_TERMINAL][-1])
    return Episode(
        experiment=experiment,
        robot=robot,
        epoch=chunk.epoch,
        episode=chunk.episode,
        steps=steps,
        total_reward=total.total_reward,
        policy_first=total.policy_first,
        policy_last=int(chunk.columns[POLICY_VERSION][-1]),
        source=Source(most[0][0] if most else Source.HOLD).name.lower(),
        is_terminal=terminal,
        ended_at=now,
        task=chunk.task,
        human_steps=total.human.human_steps,
        interventions=total.human.interventions,
        evaluation=chunk.tag.evaluation or None,
        fair=one_version and by_policy and not chunk.tag.cut,
        # One that a person drove in is cut too, however it ended: as a return it counts anyhow not.
        aborted=chunk.tag.cut and not terminal and not total.human.human_steps,
        # Without any policy a robot moves only while a person has it: the holds are theirs.
        safety_events=total.safety_events + (total.holds if total.versions else 0),
        moved_by_limits=total.moved / max(1, steps - total.people),
    )
