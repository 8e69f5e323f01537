"""Where the robot stands on the ladder of `robot_client.safety`, and who is told when it falls."""

from __future__ import annotations

import numpy as np

from robot_client.clock import Clock, SystemClock
from robot_client.messages import Event
from robot_client.ports import ServerLink
from robot_client.safety import Ages, EmergencyStop, Ladder, Limits, Rung, Verdict


class Standing:
    """The verdict that is shown, and the one that ages alone give.

    Args:
        limits: of the ladder.
        estop: above all ages.
        clock: of the observations and of the policies' swaps.
        link: knows the server's age, and takes the events.
    """

    def __init__(
        self, limits: Limits, estop: EmergencyStop, clock: Clock, link: ServerLink
    ) -> None:
        self._ladder, self._clock, self._link = Ladder(limits, estop), clock, link
        self._real = SystemClock()
        self._started = self._real.monotonic()
        self.verdict = self.by_age = Verdict(Rung.STOP, "starting")

    def judge(self, rung: Rung, reason: str, kind: str = "safety") -> None:
        """Show where the robot stands; an event tells of each change for the worse."""
        before, self.verdict = self.verdict, Verdict(rung, reason)
        if self.verdict != before and rung not in (Rung.FRESH, Rung.CACHED):
            self._link.send(Event(kind, f"{rung.value}: {reason}"))

    def look(self, observation_age: float, swapped_at: float) -> Verdict:
        """What the ages say: of the observation in seconds, and of a policy since its swap."""
        weights = self._clock.monotonic() - swapped_at
        self.by_age = self._ladder.rung(Ages(observation_age, weights, self._server_age()))
        return self.by_age

    def _server_age(self) -> float:
        """Seconds since the server was heard of; before the first word, since the start."""
        age = self._link.server_age
        return age if np.isfinite(age) else self._real.monotonic() - self._started
