"""How a robot's process is told to end: by signals, and by the death of who started it."""

from __future__ import annotations

import ctypes
import os
import signal
import threading

from robot_client.clock import SystemClock

_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.05


class Halted(threading.Event):
    """An event without a lock, which a handler of signals may set.

    The handler runs in the thread that waits, and would wait for ever for a lock that this holds.
    """

    _is_set = False

    def is_set(self) -> bool:
        """Whether it has been set."""
        return self._is_set

    def set(self) -> None:
        """Set it, once and for all."""
        self._is_set = True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, or for `timeout` seconds. Returns whether it is."""
        clock = SystemClock()
        end = clock.monotonic() + (float("inf") if timeout is None else timeout)
        while not self._is_set and (now := clock.monotonic()) < end:
            clock.sleep_until(min(end, now + _LOOK_S))
        return self._is_set


def halted_by_signals(parent: int | None = None) -> Halted:
    """Set by SIGTERM or SIGINT, and when the parent dies, if its process id is given (Linux).

    The second signal breaks off whatever runs, by way of `stop()`; the third one ends the process.
    """
    halted = Halted()

    def halt(number: int, frame: object) -> None:
        if halted.is_set():
            signal.signal(number, signal.SIG_DFL)
            raise KeyboardInterrupt
        halted.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, halt)
    if parent is not None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it has died already, of which no signal tells any more
            halted.set()
    return halted
