"""What has happened, and who did what."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from server.dashboard.events_panel import EventsPanel
from server.dashboard.parts import button, cell, clock, panel, pill, table
from server.dashboard.visit import Visit
from server.feed import News

_PAGE = 60
_OUTCOMES = {"done": "good", "refused": "warn", "failed": "bad"}


async def build(visit: Visit) -> None:
    """The page."""
    with ui.element("div").classes("halves"):
        events = EventsPanel(visit)
        await events.load()
        audit = _Audit(visit) if visit.may_act else None
        if audit is None:
            ui.label("Who did what is for operators to see.").classes("quiet")
        else:
            await audit.load()

    def refresh(heard: list[News]) -> None:
        events.refresh(heard)

    visit.follow(refresh)


class _Audit:
    """The audit log, a page at a time."""

    def __init__(self, visit: Visit) -> None:
        self._visit, self._offset = visit, 0
        with panel("Who did what"):
            with ui.element("div").classes("scroll more"):
                self._body = table("when", "who", "from", "what", "outcome")
            with ui.element("div").classes("bar"):
                self._count = ui.label().classes("quiet")
                ui.element("div").classes("space")
                self._newer = button("Newer", "chevron_left", lambda: self._turn(-_PAGE))
                self._older = button("Older", "chevron_right", lambda: self._turn(_PAGE))

    async def load(self) -> None:
        """Read the page again."""
        page = await self._visit.get("/audit", offset=self._offset, limit=_PAGE)
        self._body.clear()
        for line in page["items"]:
            with self._body, ui.element("tr"):
                _row(line)
        last = self._offset + len(page["items"])
        self._count.text = f"{self._offset + 1} to {last} of {page['total']}" if last else "nothing"
        self._newer.set_enabled(self._offset > 0)
        self._older.set_enabled(last < page["total"])

    async def _turn(self, by: int) -> None:
        self._offset = max(0, self._offset + by)
        await self.load()


def _row(line: dict[str, Any]) -> None:
    what = line["operation"].replace("_", " ")
    about = ", ".join(f"{name} {value}" for name, value in line["parameters"].items())
    cell(clock(line["time"], date=True))
    cell(line["who"], "heading")
    cell(line["address"], "quiet")
    cell(f"{what} {about}".strip(), "wrap")
    with cell():
        pill(line["outcome"], _OUTCOMES.get(line["outcome"], "off"))
