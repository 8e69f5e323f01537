"""How many plans can be imagined before an action is due."""

from __future__ import annotations

from robot_client.clock import Clock

FEWEST = 16  # plans: what less say of where to look is worse than not looking
PIECES = 8  # into which the time for a decision is cut, at least
MARGIN = 0.9  # share of the time left that is planned with
FORGET = 0.5  # factor of the pace after a decision that it left no time for


class Budget:
    """The time left for one decision, in seconds of a clock.

    Args:
        clock: not asked at all without a deadline.
        deadline: when the action is due; None for no limit.
        pace: seconds to imagine one step of one plan, as measured before; 0 when unknown.
    """

    def __init__(self, clock: Clock, deadline: float | None, pace: float) -> None:
        self._clock, self._deadline = clock, deadline
        self.pace = pace
        self._began = self._now()
        self._measured = False

    def late(self) -> bool:
        """Whether the action is due."""
        return self._deadline is not None and self._clock.monotonic() >= self._deadline

    def population(self, wanted: int, iterations: int, horizon: int) -> int:
        """How many plans to imagine now, when that is to be done `iterations` times; 0 to stop."""
        if self._deadline is None or not self.pace:
            return wanted
        least = min(FEWEST, wanted)
        room = self._room(horizon, self._deadline - self._now())
        if room < least:
            return 0
        return min(wanted, max(room // iterations, least))

    def piece(self, wanted: int, horizon: int) -> int:
        """How many of them to imagine at once; 0 to stop."""
        if self._deadline is None:
            return wanted
        few = min(FEWEST, wanted)
        whole = self._room(horizon, self._deadline - self._began) // PIECES
        rows = min(wanted, max(few, whole))
        return rows if self._room(horizon, self._deadline - self._now()) >= rows else 0

    def measure(self, began: float, rows: int, steps: int) -> None:
        """Note that `rows` plans of `steps` steps were imagined since `began`."""
        if self._deadline is None or not steps:
            return
        pace = (self._now() - began) / (rows * steps)
        if self.pace:  # a moment in which the machine did something else must not count for much
            pace = min(max(pace, 0.5 * (self.pace + pace)), 2 * self.pace)
        self.pace = pace
        self._measured = True

    def next_pace(self) -> float:
        """For the next decision. One that no time was found for trusts the old measure less."""
        return self.pace if self._measured or self._deadline is None else FORGET * self.pace

    def now(self) -> float:
        """The time, for `measure`."""
        return self._now()

    def _now(self) -> float:
        return 0.0 if self._deadline is None else self._clock.monotonic()

    def _room(self, horizon: int, seconds: float) -> int:
        """Plans that can be imagined in that time; when the pace is unknown, as few as allowed."""
        if seconds <= 0:
            return 0
        return int(MARGIN * seconds / (self.pace * horizon)) if self.pace > 0 else FEWEST
