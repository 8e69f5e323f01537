"""A robot whose observation counts, so that a test sees any row lost, doubled or out of order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
from gymnasium import spaces

from robot_client.errors import RobotError
from robot_client.robot import Action, Reading, as_action
from robot_client.schema import ActionSpace, Task


class CountingRobot:
    """Observes (episode, step, total): the total grows by one with every reset and every action.

    The reward is the total too. float32 counts exactly up to 2**24.

    Args:
        episode_steps: length of an episode.
        control_hz: nominal rate.
        action: kind of the action space: Discrete(2), or a Box of one number in [-1, 1].
        path: file that keeps the counts, so that a killed and restarted process goes on counting;
            at each restart the total may skip rows that were counted but not yet recorded.
    """

    def __init__(
        self,
        episode_steps: int = 10,
        control_hz: float = 20.0,
        action: Literal["discrete", "box"] = "discrete",
        path: str | None = None,
    ) -> None:
        counts = spaces.Box(0.0, float(2**24), (3,), np.float32)
        self.observation_space = spaces.Dict({"count": counts})
        self.action_space: ActionSpace = (
            spaces.Discrete(2) if action == "discrete" else spaces.Box(-1.0, 1.0, (1,), np.float32)
        )
        self.control_hz = control_hz
        self.task = Task("counting", episode_steps)
        self._path = None if path is None else Path(path)
        self._episode, self._total, self._step = -1, 0, 0
        self._running = False

    def connect(self) -> None:
        """Read the file, if there is one."""
        if self._path is not None and self._path.exists():
            self._episode, self._total = json.loads(self._path.read_text())

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode; the seed changes nothing."""
        self._episode, self._step, self._running = self._episode + 1, 0, True
        self._count()

    def apply(self, action: Action) -> Action:
        """Count on."""
        if not self._running:
            raise RobotError("counting: apply before reset")
        self._step += 1
        self._count()
        sent = as_action(self.action_space, action)
        if isinstance(self.action_space, spaces.Box):
            sent = np.clip(sent, self.action_space.low, self.action_space.high)
        return sent

    def observe(self) -> Reading:
        """The counts (3,) and, as reward, the total; no reward on the first reading."""
        if not self._running:
            raise RobotError("counting: observe before reset")
        count = np.array([self._episode, self._step, self._total], np.float32)
        return Reading({"count": count}, float(self._total) if self._step else 0.0)

    def stop(self) -> None:
        """Nothing moves."""

    def close(self) -> None:
        """Nothing is open."""
        self._running = False

    def _count(self) -> None:
        self._total += 1
        if self._path is not None:
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(json.dumps([self._episode, self._total]))
            temporary.replace(self._path)
