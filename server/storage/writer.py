"""Writes rows in batches, off the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable

from server.storage.models import Base, Metric
from server.storage.storage import AWAY, Storage

log = logging.getLogger(__name__)

_MOST_S = 5.0  # between tries while the database is away


class Writer:
    """Collects rows on the event loop and saves them together in a thread.

    Rows are saved in the order in which they were put; one put twice is saved once. While the
    database cannot be written, rows are kept and tried again with the next ones. A row that it
    will never take is logged and dropped, so that it does not stand in the way of the others.
    When too many wait, the learners' curves among them become half as dense; all else is kept.

    Args:
        storage: where the rows go.
        every_s: the longest that a row waits, in seconds.
        most: rows that wait before curves are thinned.
    """

    def __init__(self, storage: Storage, every_s: float = 0.25, most: int = 200_000) -> None:
        self._storage = storage
        self._every_s = every_s
        self._most = self._thin_at = most
        self._rows: dict[Base, None] = {}  # in order, by identity
        self._closing = asyncio.Event()
        self._saving = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def put(self, *rows: Base) -> None:
        """Save these rows soon. Call on the event loop."""
        self._rows.update(dict.fromkeys(rows))
        if len(self._rows) > self._thin_at:
            self._thin()

    async def flush(self) -> None:
        """Save everything that has been put.

        Raises one of `AWAY` when nothing could be saved: the rows are kept. Any other error is that
        of a row that was dropped, when the others had been saved.
        """
        async with self._saving:
            batch, self._rows = self._rows, {}
            if not batch:
                return
            try:
                await asyncio.to_thread(self._save, batch)
            except (*AWAY, asyncio.CancelledError):
                self._rows = batch | self._rows
                raise
            self._thin_at = self._most

    async def settle(self) -> bool:
        """Save everything that can be saved; what cannot is logged. For who is about to read.

        Returns whether the database answered.
        """
        try:
            await self.flush()
        except AWAY as error:
            why = str(error).partition("\n")[0]
            log.warning("could not save %d rows; will try again: %s", len(self._rows), why)
            return False
        except Exception as error:  # noqa: BLE001 - logged with its row; the others must go on
            log.warning("a row was dropped: %s", type(error).__name__)
        return True

    async def start(self) -> None:
        """Begin to save in the background."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Save what is left and end."""
        self._closing.set()
        if self._task is not None:
            await self._task
        await self.flush()

    def _thin(self) -> None:
        """Leave out every second point of each curve that waits."""
        points: Counter[tuple[str, str]] = Counter()
        for row in [row for row in self._rows if isinstance(row, Metric)]:
            curve = (row.experiment, row.name)
            points[curve] += 1
            if points[curve] % 2 == 0:
                del self._rows[row]
        left = len(self._rows)
        log.warning("%d rows wait for the database: curves were thinned", left)
        self._thin_at = max(self._most, 2 * left)

    async def _run(self) -> None:
        delay = self._every_s
        while not self._closing.is_set():
            try:
                await asyncio.wait_for(self._closing.wait(), delay)
            except TimeoutError:
                answered = await self.settle()
                delay = self._every_s if answered else min(2 * delay, _MOST_S)

    def _save(self, batch: Iterable[Base]) -> None:
        """In one transaction or, when a row spoils it, each row in one of its own."""
        try:
            self._storage.save(batch)
        except AWAY:
            raise
        except Exception:  # noqa: BLE001 - a driver may raise anything; `_save_each` finds the row
            self._save_each(batch)

    def _save_each(self, batch: Iterable[Base]) -> None:
        first: Exception | None = None
        for row in batch:
            try:
                self._storage.save([row])
            except AWAY:
                raise
            except Exception as error:  # a driver may raise anything
                log.exception("dropped a row of %s", row.__tablename__)
                first = first or error
        if first is not None:
            raise first
