"""How much an experiment has stored, and whether it is whole."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from nicegui import ui

from server.dashboard.parts import (
    Figure,
    button,
    cell,
    named,
    number,
    panel,
    pill,
    show_pill,
    size_of,
    table,
)
from server.dashboard.visit import Refused, Visit

_SHOWN = 50


class ReplayPanel:
    """Counts, the streams of robots, and a walk over all rows on request.

    Args:
        visit: the page.
        experiment: whose rows.
    """

    def __init__(self, visit: Visit, experiment: str) -> None:
        self._visit = visit
        self._path = f"/experiments/{quote(experiment, safe='')}/replay"
        self._seen: Any = None
        with panel("Replay", more="what robots have delivered"):
            with ui.element("div").classes("figures"):
                self._rows, self._chunks = Figure("rows"), Figure("chunks")
                self._discarded, self._size = Figure("discarded episodes"), Figure("on the disk")
            named(self._rows.box, "replay-rows")
            with ui.element("div").classes("bar"):
                if visit.may_act:
                    self._button = button("Verify", "fact_check", self._verify)
                    named(self._button, "verify-replay").tooltip("walks over all rows")
                self._state = named(pill(), "replay-state")
                self._problems = ui.label().classes("quiet wrap")
            self._state.set_visibility(False)
            with ui.element("div").classes("scroll"):
                self._body = table("robot", "epoch", "rows", "episode", "")
            self._more = ui.label().classes("quiet")

    async def refresh(self) -> None:
        """Count again. Raises Refused."""
        found = await self._visit.get(self._path)
        if found == self._seen:
            return
        self._seen = found
        self._rows.show(number(found["rows"]))
        self._chunks.show(number(found["chunks"]))
        self._discarded.show(number(found["discarded_episodes"]))
        self._size.show(size_of(found["nbytes"]))
        self._body.clear()
        for stream in found["streams"][:_SHOWN]:
            with self._body, ui.element("tr"):
                _row(stream)
        beyond = len(found["streams"]) - _SHOWN
        self._more.text = f"and {beyond} more streams" if beyond > 0 else ""

    async def _verify(self) -> None:
        self._button.props("loading")
        try:
            found = await self._visit.ask("POST", f"{self._path}/verify")
        except Refused as error:
            self._visit.complain(str(error))
            return
        finally:
            self._button.props(remove="loading")
        problems = found["problems"]
        self._state.set_visibility(True)
        show_pill(self._state, "damaged" if problems else "whole", "bad" if problems else "good")
        whole = f"{number(found['rows'])} rows, each there once"
        self._problems.text = "; ".join(problems) or whole


def _row(stream: dict[str, Any]) -> None:
    cell(stream["robot"], "heading")
    cell(stream["epoch"][:8], "mono")
    cell(number(stream["next_seq"]))
    cell(number(stream["episode"]))
    with cell():
        pill("ended", "off") if stream["ended"] else pill("goes on", "good")
