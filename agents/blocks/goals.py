"""Which observations are goals, and what a task with goals can pay."""

from __future__ import annotations

import math
import re

import numpy as np
from gymnasium import spaces
from pydantic import Field

from agents.agent import AgentConfig
from agents.errors import UnsupportedSpace
from robot_client.rewards import Distance, Within
from robot_client.schema import Task

Bounds = tuple[float, float]
UNBOUNDED = (-math.inf, math.inf)


class GoalKeys(AgentConfig):
    """For agents that are told a goal: the names of two observations, alike in shape and units."""

    achieved: str = Field("achieved_goal", description="Observation of what was reached.")
    desired: str = Field("desired_goal", description="Observation of what is wanted.")

    def check(self, seen: spaces.Dict, pattern: str) -> None:
        """Raises UnsupportedSpace unless both are vectors of one length, and what is wanted is
        among the observations that match."""
        both = [seen.spaces.get(key) for key in (self.achieved, self.desired)]
        vectors = all(
            isinstance(s, spaces.Box) and s.dtype == np.float32 and len(s.shape) == 1 for s in both
        )
        if not vectors or both[0].shape != both[1].shape:  # type: ignore[union-attr]
            expected = f"{self.achieved} and {self.desired}, float32 vectors of one length"
            raise UnsupportedSpace("observation_space", expected, seen)
        if not re.fullmatch(pattern, self.desired):
            raise UnsupportedSpace("keys", f"a pattern that matches {self.desired}", pattern)

    def check_task(self, task: Task | None) -> None:
        """Raises UnsupportedSpace when the robots' task calls its goals otherwise."""
        if task is not None and task.goals is not None:
            wanted = (task.goals.achieved, task.goals.desired)
            if wanted != (self.achieved, self.desired):
                raise UnsupportedSpace("goals", f"{wanted}, as in the task", self)


def payable(task: Task | None, discount: float) -> Bounds:
    """The least and the most that a task can ever pay, discounted; UNBOUNDED where that is not
    known. (Andrychowicz et al. 2017, appendix A, keep targets within -1 / (1 - discount) and 0.)
    """
    reward = None if task is None else task.reward
    if isinstance(reward, Within) and discount < 1:
        each = (reward.hit, reward.miss, 0.0)
        return min(each) / (1 - discount), max(each) / (1 - discount)
    if isinstance(reward, Distance) and reward.scale >= 0:
        return -math.inf, 0.0
    return UNBOUNDED
