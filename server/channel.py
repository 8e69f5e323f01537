"""The line between a learner and the process that started it: JSON lines on stdin and stdout."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import IO, Any

from robot_client.clock import Clock


class Channel:
    """Takes commands from stdin and says events on stdout.

    Whatever else writes to stdout is sent to stderr, so that a library's print cannot break a line.
    The end of stdin means that the parent is gone, and counts as the command `stop`.
    """

    def __init__(self, commands: IO[str], events: IO[str]) -> None:
        self._events = events
        self._lock = threading.Lock()
        self._parent_gone = threading.Event()
        self._gone_since: float | None = None
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(commands,), name="commands", daemon=True).start()

    @staticmethod
    def standard() -> Channel:
        """Over this process's own stdin and stdout."""
        events = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        return Channel(sys.stdin, events)

    def say(self, event: str, **fields: Any) -> None:
        """Send one event. A closed pipe is no error: the parent is gone, and stdin will say so."""
        with self._lock:
            try:
                self._events.write(json.dumps({"event": event, **fields}) + "\n")
                self._events.flush()
            except BrokenPipeError:
                self._queue.put("stop")

    def orphaned_s(self, clock: Clock) -> float:
        """For how many seconds the parent has been seen to be gone; 0 while it is there."""
        if not self._parent_gone.is_set():
            return 0.0
        if self._gone_since is None:
            self._gone_since = clock.monotonic()
        return clock.monotonic() - self._gone_since

    def command(self) -> str | None:
        """The next command, if one has come."""
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None

    def _read(self, commands: IO[str]) -> None:
        for line in commands:
            try:
                self._queue.put(str(json.loads(line)["do"]))
            except (ValueError, KeyError, TypeError):
                self.say("log", text=f"not a command: {line[:80]!r}")
        self._parent_gone.set()
        self._queue.put("stop")
