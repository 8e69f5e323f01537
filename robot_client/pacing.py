"""The fixed rate of the control loop, and how well it is kept."""

from __future__ import annotations

from collections import deque

import numpy as np

from robot_client.clock import Clock

_TOLERANCE = 0.1  # of a period: a step that ends so little late is on time
_WINDOW = 4096
_RECENT = 128


class Pacer:
    """Waits for the next tick of a fixed schedule.

    A step that takes too long misses its tick: it is counted, and the loop goes on at the next
    tick of the same schedule, so that lateness never adds up.

    Args:
        clock: tells the time and waits.
        hz: ticks per second.
    """

    def __init__(self, clock: Clock, hz: float) -> None:
        self.missed = 0
        self._clock, self._period = clock, 1 / hz
        self._steps: deque[float] = deque(maxlen=64)
        self.start()

    def start(self) -> None:
        """Begin a schedule now."""
        self._origin, self._tick = self._clock.monotonic(), 0
        self._steps.clear()

    def wait(self) -> None:
        """Return at the next tick."""
        self._tick += 1
        late = self._clock.monotonic() - (self._origin + self._tick * self._period)
        if late > _TOLERANCE * self._period:
            skipped = int(late // self._period) + 1
            self.missed += skipped
            self._tick += skipped
        self._clock.sleep_until(self._origin + self._tick * self._period)
        self._steps.append(self._clock.monotonic())

    @property
    def hz(self) -> float:
        """Rate of the last ticks, 0 before there are two."""
        steps = list(self._steps)
        passed = steps[-1] - steps[0] if len(steps) > 1 else 0.0
        return (len(steps) - 1) / passed if passed else 0.0


class Latencies:
    """The last few thousand durations in seconds."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_WINDOW)
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def add(self, seconds: float) -> None:
        """One more."""
        self._seconds.append(seconds)
        self._recent.append(seconds)

    @property
    def worst(self) -> float:
        """The longest of the last hundred or so, 0 when there is none yet. For any thread."""
        return max(list(self._recent), default=0.0)

    def percentile(self, q: float) -> float:
        """The q-th percentile in seconds, 0 when there is none yet."""
        return float(np.percentile(list(self._seconds), q)) if self._seconds else 0.0
