"""Counting rows for the tests of replay: every number in a row tells which row it is."""

from __future__ import annotations

import numpy as np

from robot_client.schema import Chunk, Columns, Source

STRIDE = 1000  # step of a robot's n-th row in episode e is e * STRIDE + n


def rows(
    episode: int,
    start: int,
    stop: int,
    last: bool = False,
    terminal: bool = False,
    robot: int = 0,
    version: int = 0,
    extras: bool = False,
    image: int = 0,
) -> Columns:
    """Rows start to stop - 1 of an episode, the final one being `last` if so asked."""
    index = np.arange(start, stop)
    step = (robot * 100 + episode) * STRIDE + index
    ends = np.zeros(len(index), np.bool_)
    ends[-1] = last or terminal
    columns = {
        "step": step.astype(np.float32)[:, None],
        "action": np.where(ends, 0, step + 0.5).astype(np.float32)[:, None],
        "action_requested": step.astype(np.float32)[:, None],
        "reward": step.astype(np.float32),
        "is_first": index == 0,
        "is_last": ends,
        "is_terminal": ends & terminal,
        "policy_version": np.full(len(index), version, np.int64),
        "source": np.full(len(index), Source.POLICY, np.uint8),
        "time_monotonic": step.astype(np.float64),
        "time_wall": step.astype(np.float64),
    }
    if image:
        pixels = np.broadcast_to(step[:, None, None, None] % 251, (len(index), image, image, 3))
        columns["camera"] = pixels.astype(np.uint8)
    if extras:
        columns["policy/h"] = np.repeat(step[:, None], 3, 1).astype(np.float32)
    return columns


class Recorder:
    """Cuts episodes into chunks, numbering rows as a robot's spool does."""

    def __init__(self, robot: int = 0, epoch: str = "boot-0", **kind: int) -> None:
        self.name, self.epoch = f"robot-{robot}", epoch
        self._robot, self._kind = robot, kind
        self._seq, self._episode = 0, -1

    def chunks(
        self, length: int, chunk: int = 5, ends: str = "last", **kind: int
    ) -> list[tuple[str, Chunk]]:
        """The next episode: `ends` is last, terminal or cut."""
        self._episode += 1
        found = []
        for start in range(0, length, chunk):
            stop = min(start + chunk, length)
            flags = {ends: True} if stop == length and ends != "cut" else {}
            columns = rows(
                self._episode, start, stop, robot=self._robot, **flags, **{**self._kind, **kind}
            )
            found.append((self.name, Chunk(self.epoch, self._episode, self._seq, columns)))
            self._seq += stop - start
        return found
