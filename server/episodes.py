"""Sums up episodes while their chunks arrive."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from robot_client.schema import (
    IS_FIRST,
    IS_LAST,
    IS_TERMINAL,
    POLICY_VERSION,
    REWARD,
    SOURCE,
    Chunk,
    Source,
)
from server.human_share import HumanShare
from server.storage import Episode


@dataclass
class _Sum:
    """An episode so far."""

    number: int
    policy_first: int
    rows: int = 0
    total_reward: float = 0.0
    sources: Counter[int] = field(default_factory=Counter)
    human: HumanShare = field(default_factory=HumanShare)


class EpisodeBook:
    """Running sums of the episodes in progress, one per stream.

    An episode whose beginning was stored before this server started is not summed up: half of its
    reward would pass for all of it.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str], _Sum] = {}
        self.humans: dict[tuple[str, str], HumanShare] = {}  # since the server's start

    def add(self, robot: str, experiment: str, chunk: Chunk, now: float) -> Episode | None:
        """Count a stored chunk. Returns the episode when the chunk ends it."""
        columns, stream = chunk.columns, (experiment, robot, chunk.epoch)
        if columns[IS_FIRST][0]:
            self._sums[stream] = _Sum(chunk.episode, int(columns[POLICY_VERSION][0]))
        so_far = self._sums.get(stream)
        if so_far is None or so_far.number != chunk.episode:
            return None
        so_far.rows += chunk.rows
        so_far.total_reward += float(columns[REWARD].sum(dtype="float64"))
        acted = ~columns[IS_LAST]  # nothing is done after the last row
        so_far.sources.update(columns[SOURCE][acted].tolist())
        so_far.human.add(columns[SOURCE][acted])
        self.humans.setdefault((experiment, robot), HumanShare()).add(columns[SOURCE][acted])
        if not columns[IS_LAST][-1]:
            return None
        del self._sums[stream]
        return _finished(robot, experiment, chunk, so_far, now)


def _finished(robot: str, experiment: str, chunk: Chunk, total: _Sum, now: float) -> Episode:
    most = total.sources.most_common(1)
    return Episode(
        experiment=experiment,
        robot=robot,
        epoch=chunk.epoch,
        episode=chunk.episode,
        steps=total.rows - 1,
        total_reward=total.total_reward,
        policy_first=total.policy_first,
        policy_last=int(chunk.columns[POLICY_VERSION][-1]),
        source=Source(most[0][0] if most else Source.HOLD).name.lower(),
        is_terminal=bool(chunk.columns[IS_TERMINAL][-1]),
        ended_at=now,
        task=chunk.task,
        human_steps=total.human.human_steps,
        interventions=total.human.interventions,
    )
