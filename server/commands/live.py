"""The server's live stream (server-sent events), for the commands that watch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from server.commands.rest import Json, calling, experiment_id, given, raise_for

_SILENCE_S = 60.0  # the server says something every quarter of a minute


def follow(server: str, experiment: str | None) -> Iterator[tuple[str, Json]]:
    """Kind and content of each event as it comes, without end.

    Args:
        server: its address.
        experiment: id or name of the one that is meant, with what concerns nobody; None: all.

    Raises Unreachable when the stream breaks off.
    """
    ident = None if experiment is None else experiment_id(server, experiment)
    query = given({"experiment": ident})
    with (
        calling(server, _SILENCE_S) as api,
        api.stream("GET", "/live", params=query) as answer,
    ):
        raise_for(answer)
        yield from events_in(answer.iter_lines())


def events_in(lines: Iterable[str]) -> Iterator[tuple[str, Json]]:
    """Kind and content of the events that the lines hold."""
    kind = "message"
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            kind = value
        elif field == "data":
            yield kind, json.loads(value)
