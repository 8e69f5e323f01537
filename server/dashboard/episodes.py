"""The episodes of an experiment: find one, and look through it: pictures and signals by row."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from nicegui import ui

from server.dashboard.episode_view import EpisodeView
from server.dashboard.parts import NONE, button, cell, clock, number, pill, table
from server.dashboard.visit import Refused, Visit
from server.feed import News

_PAGE = 50
_OUTCOMES = {"": "any", "success": "success", "failure": "failure"}
_SOURCES = {"": "anybody"} | {n: n for n in ("policy", "planner", "random", "human", "hold")}
_KEPT = {"": "all", "false": "learned from", "true": "discarded"}


async def build(visit: Visit, experiment: str) -> None:
    """The page."""
    browser = _Browser(visit, experiment)
    try:
        await browser.load()
    except Refused as error:
        ui.label(str(error)).classes("trouble")
        return
    visit.follow(browser.refresh)


class _Browser:
    """Filters, a page of episodes, and the one that is chosen."""

    def __init__(self, visit: Visit, experiment: str) -> None:
        self._visit, self._experiment = visit, experiment
        self._path = f"/experiments/{quote(experiment, safe='')}/episodes"
        self._offset, self._total = 0, 0
        self._chosen = ""
        self._rows: dict[str, ui.element] = {}
        with ui.element("div").classes("bar"):
            self._filters()
        with ui.element("div").classes("halves"):
            with ui.element("section").classes("panel"):
                with ui.element("div").classes("scroll"):
                    self._body = table(
                        "ended", "robot", "steps", "return", "policy", "by", "outcome"
                    )
                with ui.element("div").classes("bar"):
                    self._count = ui.label().classes("quiet")
                    ui.element("div").classes("space")
                    self._newer = button("Newer", "chevron_left", lambda: self._turn(-_PAGE))
                    self._older = button("Older", "chevron_right", lambda: self._turn(_PAGE))
            self._view = EpisodeView(visit, experiment, self.load)

    async def load(self) -> None:
        """Read the page again. Raises Refused."""
        query = self._wanted() | {"order": "newest", "limit": _PAGE, "offset": self._offset}
        page = await self._visit.get(self._path, **query)
        self._total = page["total"]
        self._body.clear()
        self._rows = {}
        for episode in page["items"]:
            with self._body:
                self._row(episode)
        last = self._offset + len(page["items"])
        self._count.text = f"{self._offset + 1} to {last} of {self._total}" if last else "none"
        self._newer.set_enabled(self._offset > 0)
        self._older.set_enabled(last < self._total)
        if page["items"] and not self._chosen:
            await self._choose(page["items"][0])

    async def refresh(self, heard: list[News]) -> None:
        """Show a new episode while the newest page is open."""
        ended = any(n.kind == "episode" and n.experiment == self._experiment for n in heard)
        if ended and self._offset == 0:
            await self.load()

    def _filters(self) -> None:
        robots = {"": "all robots"} | {r.name: r.name for r in self._visit.house.robots()}
        self._robot = self._choice("robot", robots)
        self._source = self._choice("acted by", _SOURCES)
        self._outcome = self._choice("outcome", _OUTCOMES)
        self._kept = self._choice("kept", _KEPT)
        self._least = self._bound("return from")
        self._most = self._bound("return to")

    def _choice(self, label: str, options: dict[str, str]) -> ui.select:
        made = ui.select(options, value="", label=label, on_change=self._filtered)
        return made.props("dense outlined options-dense").classes("filter")

    def _bound(self, label: str) -> ui.number:
        made = ui.number(label, on_change=self._filtered)
        return made.props("dense outlined clearable debounce=400").classes("filter")

    def _wanted(self) -> dict[str, Any]:
        chosen = {
            "robot": self._robot.value,
            "source": self._source.value,
            "outcome": self._outcome.value,
            "discarded": self._kept.value,
        }
        bounds = {"min_return": self._least.value, "max_return": self._most.value}
        return {name: value or None for name, value in chosen.items()} | bounds

    async def _filtered(self) -> None:
        self._offset = 0
        await self.load()

    async def _turn(self, by: int) -> None:
        self._offset = max(0, self._offset + by)
        await self.load()

    def _row(self, episode: dict[str, Any]) -> None:
        chosen = episode["id"] == self._chosen
        with ui.element("tr").classes("link chosen" if chosen else "link") as row:
            self._rows[episode["id"]] = row
            row.on("click", lambda: self._choose(episode))
            cell(clock(episode["ended_at"]))
            cell(episode["robot"])
            cell(number(episode["steps"]))
            cell(number(episode["total_reward"]))
            version = episode["policy_last"]
            cell(NONE if version < 0 else f"v{version}")
            cell(episode["source"])
            with cell():
                _mark_of(episode)

    async def _choose(self, episode: dict[str, Any]) -> None:
        for name in (self._chosen, episode["id"]):
            if name in self._rows:
                self._rows[name].classes(toggle="chosen")
        self._chosen = episode["id"]
        await self._view.show(episode)


def _mark_of(episode: dict[str, Any]) -> None:
    if episode["discarded"]:
        pill("discarded", "off")
    elif episode["outcome"]:
        pill(episode["outcome"], "good" if episode["outcome"] == "success" else "bad")
    else:
        ui.label(episode["ending"]).classes("quiet")
