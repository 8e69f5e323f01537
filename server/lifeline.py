"""A file that says until when the server lived; the next start tells how long it was away.

Its time of change is set again every second; its content says whether the server knew of its end.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from robot_client.clock import Clock
from robot_client.durable import write_durably

NAME = "server.alive"  # in the data directory
BEAT_S = 1.0
_RUNNING, _STOPPED = b"running\n", b"stopped\n"


class Absence(NamedTuple):
    """While no server worked on the data, in seconds since 1970.

    Args:
        begin: when the last one was stopped or, to the second, seen alive.
        end: when this one started.
        stopped: somebody asked the last one to end; False: it crashed or was killed.
    """

    begin: float
    end: float
    stopped: bool

    def __str__(self) -> str:
        reason = "the server was stopped" if self.stopped else "the server crashed or was killed"
        return (
            f"from {_utc(self.begin)} to {_utc(self.end)} ({self.end - self.begin:.1f} s): {reason}"
        )


def absence(data: Path, now: float) -> Absence | None:
    """What was before a server that starts now; None when it is the first on this data."""
    path = data / NAME
    try:
        begin, content = path.stat().st_mtime, path.read_bytes()
    except FileNotFoundError:
        return None
    return Absence(min(begin, now), now, content == _STOPPED)  # a clock may have been set back


@asynccontextmanager
async def alive(data: Path, clock: Clock) -> AsyncIterator[None]:
    """Say that the server lives while the block runs."""
    path = data / NAME
    write_durably(path, _RUNNING)
    beating = asyncio.create_task(_beat(path, clock))
    try:
        yield
    finally:
        beating.cancel()
        write_durably(path, _STOPPED)
        _touch(path, clock.wall())


async def _beat(path: Path, clock: Clock) -> None:
    while True:
        await asyncio.to_thread(_touch, path, clock.wall())
        await asyncio.sleep(BEAT_S)


def _touch(path: Path, now: float) -> None:
    os.utime(path, (now, now))


def _utc(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
