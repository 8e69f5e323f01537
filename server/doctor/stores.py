"""The replay stores: can each be read, and do its counts agree?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lmdb

from robot_client.errors import DreamfleetError
from robot_client.findings import Finding
from server.replay.store import ReplayStore
from server.settings import Settings

_NAME = "replay"


def check(settings: Settings) -> Iterator[Finding]:
    """A quick look at each store; `dreamfleet replay verify` walks over all rows."""
    stores = sorted(settings.data.glob("experiments/*/replay"))
    if not stores:
        yield Finding(_NAME, "OK", "no experiment has stored anything yet")
    for path in stores:
        yield _look(path)


def _look(path: Path) -> Finding:
    experiment = path.parent.name
    advice = f"dreamfleet replay verify {experiment}; else restore it from a backup"
    try:
        rows, streams, promised = _counts(path)
    except (DreamfleetError, OSError, ValueError, lmdb.Error) as error:
        return Finding(_NAME, "FAIL", f"{experiment}: cannot be read: {error}", advice)
    text = f"{experiment}: {rows} rows in {streams} streams"
    if rows != promised:
        return Finding(_NAME, "FAIL", f"{text}, which say {promised}", advice)
    return Finding(_NAME, "OK", text)


def _counts(path: Path) -> tuple[int, int, int]:
    """Rows by the last chunk, streams, and rows by the streams' marks."""
    store = ReplayStore(path, readonly=True)
    try:
        with store.read() as snapshot:
            streams = snapshot.streams()
            return snapshot.rows, len(streams), sum(stream.next_seq for stream in streams)
    finally:
        store.close()
