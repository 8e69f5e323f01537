"""The newest events, of an experiment or of all, as they happen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from server.dashboard.parts import clock, panel
from server.dashboard.visit import Visit
from server.feed import News

_SHOWN = 60
_BAD = ("failed", "refused", "damaged", "not_finite", "stop", "error", "lost")


class EventsPanel:
    """A list that grows at its top.

    Args:
        visit: the page.
        experiment: only what concerns this one; None: everything.
        kinds: only these; none: all.
        title: above the list.
    """

    def __init__(
        self,
        visit: Visit,
        experiment: str | None = None,
        kinds: Sequence[str] = (),
        title: str = "Events",
    ) -> None:
        self._visit, self._experiment, self._kinds = visit, experiment, kinds
        with panel(title):
            self._none = ui.label("Nothing has happened yet.").classes("quiet")
            self._list = ui.element("div").classes("events").props("data-mark=events")

    async def load(self) -> None:
        """Show what has happened so far."""
        found: list[dict[str, Any]] = []
        for kind in self._kinds or (None,):
            query = {"experiment": self._experiment, "limit": _SHOWN, "kind": kind}
            found += (await self._visit.get("/events", **query))["items"]
        for event in sorted(found, key=lambda each: float(each["time"]))[-_SHOWN:]:
            self._add(event)

    def refresh(self, heard: list[News]) -> None:
        """Show what is new."""
        for news in heard:
            mine = self._experiment in (None, news.experiment)
            told = news.kind == "event" and (not self._kinds or news.data["kind"] in self._kinds)
            if told and mine:
                self._add(news.data)

    def _add(self, event: dict[str, Any]) -> None:
        bad = any(word in event["kind"] for word in _BAD)
        with self._list, ui.element("div").classes("event bad" if bad else "event") as row:
            ui.label(clock(event["time"])).classes("quiet")
            with ui.element("div").classes("what"):
                who = f"{event['robot']} · " if event["robot"] else ""
                ui.label(who + event["kind"].replace("_", " ")).classes("kind")
                ui.label(event["text"]).classes("quiet")
        self._none.set_visibility(False)
        row.move(self._list, target_index=0)
        rows = self._list.default_slot.children
        if len(rows) > _SHOWN:
            self._list.remove(rows[-1])
