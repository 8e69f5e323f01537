"""Who plays the episodes of one evaluation: dealt out, and dealt again when they are lost.

A robot is told how many episodes to play and says in its heartbeats that it does. When it says so
no longer and has delivered its rows, what is missing of its share was lost; when it is gone, its
share is somebody else's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

ASK_AGAIN_S = 2.0


@dataclass
class _Share:
    """Episodes given to a robot, those that came back and count, and whether it has begun."""

    given: int
    asked_at: float
    back: int = 0
    begun: bool = False


class Shares:
    """The episodes of one evaluation.

    Args:
        episodes: how many are to be played in all.
        robots: who may play them.
        played: of them, before this server started.
        awaited: robots that may have some of them under way from before: they are given no more
            until they have finished and delivered.
    """

    def __init__(
        self,
        episodes: int,
        robots: Collection[str],
        played: int = 0,
        awaited: Collection[str] = (),
    ) -> None:
        self.robots, self.played = set(robots), played
        self._awaited = set(awaited)
        self._episodes = episodes
        self._shares: dict[str, _Share] = {}

    @property
    def complete(self) -> bool:
        """Whether all have been played."""
        return self.played >= self._episodes

    @property
    def loose(self) -> int:
        """Episodes that nobody plays."""
        out = sum(max(0, share.given - share.back) for share in self._shares.values())
        return max(0, self._episodes - self.played - out)

    def came_back(self, robot: str) -> None:
        """A robot has played an episode that counts."""
        self.played += 1
        if robot in self._shares:
            self._shares[robot].back += 1

    def gone(self, robot: str) -> None:
        """What this robot was to play is to be played by another, or later."""
        self._shares.pop(robot, None)

    def keep_only(self, present: Collection[str]) -> None:
        """The robots that are there; what others were to play is loose."""
        for robot in self._shares.keys() - set(present):
            self.gone(robot)

    def ask(self, robot: str, plays: bool, delivered: bool, now: float) -> int:
        """How many episodes to ask a robot for now, 0 for no change.

        Args:
            robot: has just been heard of.
            plays: it says that it has episodes of this evaluation to play.
            delivered: it has no rows left to deliver.
            now: monotonic seconds.
        """
        if robot not in self.robots:
            return 0
        if robot in self._awaited and (plays or not delivered):
            return 0
        self._awaited.discard(robot)
        share = self._shares.get(robot)
        if share is not None and plays:
            share.begun = True
            return 0
        if share is not None and not share.begun:
            if now - share.asked_at < ASK_AGAIN_S:
                return 0
            share.asked_at = now
            return share.given - share.back
        if share is not None and not delivered:
            return 0
        self.gone(robot)
        return self._deal(robot, now)

    def _deal(self, robot: str, now: float) -> int:
        idle = len(self.robots - self._shares.keys())
        count = -(-self.loose // max(1, idle))
        if count:
            self._shares[robot] = _Share(count, now)
        return count
