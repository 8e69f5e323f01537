"""The one place that tells the time and waits, so that tests can advance it."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time in seconds and waits."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...

    def sleep_until(self, deadline: float) -> None:
        """Return once `monotonic()` has reached `deadline`."""
        ...


class SystemClock:
    """The machine's clock, optionally faster than real time.

    Args:
        speed: how many seconds pass per real second; 1 is real time. Simulated robots run faster.
    """

    def __init__(self, speed: float = 1.0) -> None:
        assert speed > 0, speed
        self._speed = speed
        self._start = time.monotonic()

    def monotonic(self) -> float:
        """Seconds since an arbitrary start, scaled by `speed`."""
        return self._start + (time.monotonic() - self._start) * self._speed

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC, never scaled."""
        return time.time()

    def sleep_until(self, deadline: float) -> None:
        """Return once `monotonic()` has reached `deadline`."""
        remaining = (deadline - self.monotonic()) / self._speed
        if remaining > 0:
            time.sleep(remaining)


class FreeRunningClock:
    """As fast as possible, for simulation: waiting takes no time, and only waiting is time.

    A control loop on this clock sees one period pass per step, however long the step took.
    """

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        """Seconds that have been waited for so far."""
        return self._now

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC, never scaled."""
        return time.time()

    def sleep_until(self, deadline: float) -> None:
        """Jump to `deadline` at once."""
        self._now = max(self._now, deadline)


class ManualClock:
    """A clock that moves only when it is told to, or when somebody sleeps on it."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        """Seconds that have been advanced so far."""
        return self._now

    def wall(self) -> float:
        """The same as `monotonic()`."""
        return self._now

    def sleep_until(self, deadline: float) -> None:
        """Jump to `deadline` at once."""
        with self._lock:
            self._now = max(self._now, deadline)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        with self._lock:
            self._now += seconds
