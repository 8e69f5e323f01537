"""Where the rows of a lockstep run go: into its replay, or nowhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from robot_client.schema import IS_LAST, NO_TAG, REWARD, Chunk, Columns, Tag

ROWS_PER_CHUNK = 16
_EPOCH = "lockstep"


class Forget:
    """A recorder that keeps nothing."""

    backlog = next_episode = 0

    def append(self, episode: int, columns: Columns, tag: Tag = NO_TAG) -> int:
        """Count the episode."""
        self.next_episode = episode + 1
        return 0


class LastRewards(Forget):
    """A recorder that keeps nothing but the reward of each episode's last row."""

    def __init__(self) -> None:
        self.rewards: list[float] = []

    def append(self, episode: int, columns: Columns, tag: Tag = NO_TAG) -> int:
        """Look whether it is the last one."""
        if bool(columns[IS_LAST]):
            self.rewards.append(float(columns[REWARD]))
        return super().append(episode, columns, tag)


class Recording:
    """A recorder that hands on a chunk whenever one is full or an episode ends.

    Args:
        task: name of the robot's task.
        keep: stores a chunk.
        rows_per_chunk: when it is full.
    """

    backlog = 0

    def __init__(
        self, task: str, keep: Callable[[Chunk], None], rows_per_chunk: int = ROWS_PER_CHUNK
    ) -> None:
        self.task, self._keep, self._rows_per_chunk = task, keep, rows_per_chunk
        self._rows: list[Columns] = []
        self._seq = self.next_episode = 0

    def append(self, episode: int, columns: Columns, tag: Tag = NO_TAG) -> int:
        """Keep a row."""
        seq = self._seq
        self._seq, self.next_episode = seq + 1, episode + 1
        self._rows.append(columns)
        if len(self._rows) == self._rows_per_chunk or bool(columns[IS_LAST]):
            stacked = {k: np.stack([row[k] for row in self._rows]) for k in self._rows[0]}
            first, self._rows = self._seq - len(self._rows), []
            self._keep(Chunk(_EPOCH, episode, first, stacked, self.task))
        return seq
