"""Writes rows in batches, off the event loop."""

from __future__ import annotations

import asyncio
import logging

from sqlalchemy.exc import SQLAlchemyError

from server.storage.models import Base
from server.storage.storage import Storage

log = logging.getLogger(__name__)


class Writer:
    """Collects rows on the event loop and saves them together in a thread.

    Rows are saved in the order in which they were put; one put twice is saved once. A batch that
    cannot be saved is kept and tried again with the next one.

    Args:
        storage: where the rows go.
        every_s: the longest that a row waits, in seconds.
    """

    def __init__(self, storage: Storage, every_s: float = 0.25) -> None:
        self._storage = storage
        self._every_s = every_s
        self._rows: dict[Base, None] = {}  # in order, by identity
        self._closing = asyncio.Event()
        self._saving = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def put(self, *rows: Base) -> None:
        """Save these rows soon. Call on the event loop."""
        self._rows.update(dict.fromkeys(rows))

    async def flush(self) -> None:
        """Save everything that has been put. Raises SQLAlchemyError; the rows are kept then."""
        async with self._saving:
            batch, self._rows = self._rows, {}
            if not batch:
                return
            try:
                await asyncio.to_thread(self._storage.save, batch)
            except BaseException:
                self._rows = batch | self._rows
                raise

    async def start(self) -> None:
        """Begin to save in the background."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Save what is left and end."""
        self._closing.set()
        if self._task is not None:
            await self._task
        await self.flush()

    async def _run(self) -> None:
        while not self._closing.is_set():
            try:
                await asyncio.wait_for(self._closing.wait(), self._every_s)
            except TimeoutError:
                await self._try_flush()

    async def _try_flush(self) -> None:
        try:
            await self.flush()
        except SQLAlchemyError:
            log.exception("could not save %d rows; will try again", len(self._rows))
