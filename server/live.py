"""The live stream: news and the state of robots, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from robot_client.schema import Json
from server.feed import Feed, Subscription

_LOOK_S = 0.5  # between looks at the robots
_QUIET_S = 15.0  # without any news, a comment keeps the connection open


async def watch(
    feed: Feed,
    experiment: str | None,
    robots: Callable[[], list[Json]],
    missed: Callable[[], Awaitable[list[Json]]],
    now: float,
) -> AsyncIterator[str]:
    """Server-sent events without end; with `experiment`, those that concern it or nobody.

    Args:
        feed: where news come from.
        experiment: id, or None for all.
        robots: how the robots are now; told again when it has changed.
        missed: the operator's events that a reader who comes back has missed, oldest first.
        now: seconds since 1970, by which a reader says later what it has read until.
    """
    shown: list[Json] | None = None
    quiet = 0.0
    with feed.subscribe() as news:
        yield f"id: {now}\n\n"
        for event in await missed():
            yield _event("event", event)
        while True:
            lines = [line async for line in _news(news, experiment)]
            found = robots()
            if found != shown:
                lines.append(_event("robots", {"robots": found}))
                shown = found
            quiet = 0.0 if lines else quiet + _LOOK_S
            if quiet >= _QUIET_S:
                lines, quiet = [": nothing new\n\n"], 0.0
            for line in lines:
                yield line


async def _news(news: Subscription, experiment: str | None) -> AsyncIterator[str]:
    """What comes within _LOOK_S."""
    try:
        async with asyncio.timeout(_LOOK_S):
            while True:
                kind, about, data = await news.get()
                if experiment is None or about in (None, experiment):
                    yield _event(kind, data)
    except TimeoutError:
        return


def _event(kind: str, data: Json) -> str:
    """What an operator should know has its time as an id: a browser names the last when it comes
    back."""
    mark = f"id: {data['time']}\n" if kind == "event" else ""
    return f"{mark}event: {kind}\ndata: {json.dumps(data)}\n\n"
