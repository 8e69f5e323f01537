"""Ctrl-C and SIGTERM as an event."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

Found = TypeVar("Found")


def stop_signal(say: Callable[[], None]) -> asyncio.Event:
    """An event that the first SIGINT or SIGTERM sets. Call on the event loop of the main thread.

    `say` is called once, at once: what has to be closed first may take a while.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def heard() -> None:
        if not stop.is_set():
            stop.set()
            say()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, heard)
    return stop


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, Found]) -> Found | None:
    """What `work` returns; None when `stop` is set before: the work is broken off then."""
    doing = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((doing, waiting), return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        for task in (doing, waiting):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(doing, waiting, return_exceptions=True)
