"""What the control loop writes down of each step, and what it does when there is no room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from robot_client.clock import Clock
from robot_client.errors import SpoolFull
from robot_client.ports import Choice, Recorder, row
from robot_client.robot import Action, Reading
from robot_client.safety import Rung
from robot_client.schema import (
    ACTION,
    ACTION_REQUESTED,
    IS_FIRST,
    IS_LAST,
    IS_TERMINAL,
    POLICY_VERSION,
    REWARD,
    SOURCE,
    TIME_MONOTONIC,
    TIME_WALL,
    Columns,
    Tag,
)
from robot_client.standing import Standing


class RowLog:
    """Hands each step to the recorder as a row.

    Args:
        recorder: gets every row.
        clock: of the rows' times.
        standing: is told when the recorder is full.
        stop: stops the robot then.
        blank: an action of zeros, for the last row of an episode.
    """

    def __init__(
        self,
        recorder: Recorder,
        clock: Clock,
        standing: Standing,
        stop: Callable[[], None],
        blank: Action,
    ) -> None:
        self.rows = 0
        self._recorder, self._clock = recorder, clock
        self._standing, self._stop, self._blank = standing, stop, blank
        self._owed: tuple[int, Columns, Tag] | None = None  # last row that found the spool full

    @property
    def owes(self) -> bool:
        """Whether the last row of an episode has found no room yet."""
        return self._owed is not None

    def record(
        self,
        episode: int,
        reading: Reading,
        choice: Choice,
        *,
        is_first: bool,
        is_last: bool,
        is_terminal: bool,
        tag: Tag,
    ) -> None:
        """Keep a row; one that finds no room ends its episode, and is kept by `pay`."""
        step = {
            REWARD: reading.reward,
            IS_FIRST: is_first,
            IS_LAST: is_last,
            IS_TERMINAL: is_terminal,
            POLICY_VERSION: choice.version,
            SOURCE: choice.source,
            TIME_MONOTONIC: self._clock.monotonic(),
            TIME_WALL: self._clock.wall(),
        }
        columns = row(reading.obs, step, choice)
        if not self._kept(episode, columns, tag):
            blank = {ACTION: self._blank, ACTION_REQUESTED: self._blank}
            last = columns | blank | {IS_LAST: np.asarray(True)}
            self._owed = episode, last, replace(tag, cut=tag.cut or not is_last)

    def pay(self) -> bool:
        """Keep the row that found the spool full; False while it still is."""
        if self._owed is not None and self._kept(*self._owed):
            self._owed = None
        return self._owed is None

    def _kept(self, episode: int, columns: Columns, tag: Tag) -> bool:
        """Keep a row; False, with the robot stopped, when the spool is full."""
        try:
            self._recorder.append(episode, columns, tag)
        except SpoolFull as error:
            self._stop()
            self._standing.judge(Rung.STOP, str(error), kind="spool_full")
            return False
        self.rows += 1
        return True
