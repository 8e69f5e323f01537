"""Writes down what an operator should know, and tells those who watch."""

from __future__ import annotations

from robot_client.clock import Clock
from server.feed import Feed
from server.storage import Event, Writer


class Journal:
    """Events, in the database and in the feed.

    Args:
        writer: the database.
        feed: for those who watch.
        clock: tells the time.
    """

    def __init__(self, writer: Writer, feed: Feed, clock: Clock) -> None:
        self._writer, self.feed, self._clock = writer, feed, clock

    def note(self, kind: str, text: str, experiment: str | None, robot: str | None = None) -> None:
        """Note an event."""
        now = self._clock.wall()
        about = {"robot": robot, "kind": kind, "text": text, "time": now}
        self._writer.put(Event(experiment=experiment, **about))
        self.feed.publish("event", experiment, about | {"experiment": experiment})
