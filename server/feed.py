"""What happens now, for whoever watches."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from robot_client.schema import Json

Kind = Literal[
    "event", "metrics", "experiment", "episode", "report", "evaluation", "robots", "lost"
]
_WAITING = 1000


class News(NamedTuple):
    """Something that has happened. `experiment` is None where it concerns none."""

    kind: Kind
    experiment: str | None
    data: Json


class Feed:
    """Hands news to every subscriber. Use on one event loop.

    Nobody is waited for: a subscriber that falls behind loses the oldest news, and is told how
    many by a `lost`.
    """

    def __init__(self) -> None:
        self._queues: set[Subscription] = set()

    def publish(self, kind: Kind, experiment: str | None, data: Json) -> None:
        """Tell all subscribers."""
        for queue in self._queues:
            queue.put(News(kind, experiment, data))

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Hear of all that is published while the block runs."""
        queue = Subscription()
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)


class Subscription:
    """News that wait for one subscriber."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[News] = asyncio.Queue(_WAITING)
        self._lost = 0

    def put(self, news: News) -> None:
        """Add news, in place of the oldest if need be."""
        if self._queue.full():
            self._queue.get_nowait()
            self._lost += 1
        self._queue.put_nowait(news)

    async def get(self) -> News:
        """The next news."""
        if self._lost:
            lost, self._lost = self._lost, 0
            return News("lost", None, {"count": lost})
        return await self._queue.get()
