"""One episode: its pictures, and its signals with a line at the row that is shown.

The browser moves through the episode by itself (page.js): a picture per row is fetched from REST,
and nothing is asked of the page.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from nicegui import ui

from robot_client.schema import (
    ACTION,
    IS_FIRST,
    IS_LAST,
    IS_TERMINAL,
    POLICY_VERSION,
    REWARD,
    SOURCE,
    TIME_MONOTONIC,
    TIME_WALL,
    Json,
    Source,
)
from server.dashboard import charts
from server.dashboard.parts import button, clock, named
from server.dashboard.visit import Refused, Visit

_POINTS = 1000
# As text: of an element the browser's side sets the value anew at each change of the page.
_SLIDER = '<input type="range" id="episode-row" min="0" value="0" aria-label="row">'
_MOST_LINES = 8  # of one signal
_FIRST = (REWARD, ACTION)
_HIDDEN = {IS_FIRST, IS_LAST, IS_TERMINAL, SOURCE, POLICY_VERSION, TIME_MONOTONIC, TIME_WALL}
_HEIGHT, _GAP, _TOP = 120, 42, 34  # of a signal's own strip, pixels


class EpisodeView:
    """The episode that is chosen.

    Args:
        visit: the page.
        experiment: whose episode.
        changed: called when what people say of it has changed.
    """

    def __init__(
        self, visit: Visit, experiment: str, changed: Callable[[], Awaitable[None]]
    ) -> None:
        self._visit, self._changed = visit, changed
        self._path = f"/experiments/{quote(experiment, safe='')}/episodes"
        self._episode: dict[str, Any] = {}
        with ui.element("section").classes("panel") as self._box:
            with ui.element("div").classes("title"):
                self._title = ui.label().classes("heading")
                self._about = ui.label().classes("quiet")
                ui.element("div").classes("space")
                if visit.may_act:
                    self._buttons()
            self._body = ui.element("div").classes("stack-y")
        self._box.set_visibility(False)

    async def show(self, episode: dict[str, Any]) -> None:
        """Look at this one."""
        self._episode = episode
        self._title.text = f"{episode['robot']}, episode {episode['episode']}"
        self._about.text = f"ended {clock(episode['ended_at'], date=True)}"
        self._box.set_visibility(True)
        path = f"{self._path}/{episode['id']}/signals"
        self._body.clear()
        with self._body:
            try:
                self._signals(await self._visit.get(path, points=_POINTS))
            except Refused as error:
                ui.label(str(error)).classes("trouble")

    def _signals(self, signals: dict[str, Any]) -> None:
        strips = _strips(signals["columns"])
        with ui.element("div").classes("cameras"):
            pictures = [(camera, self._picture(camera)) for camera in signals["cameras"]]
        self._scrubber()
        drawn = ui.echart(_options(strips, signals)).classes("chart").props("data-mark=signals")
        height = _TOP + len(strips) * (_HEIGHT + _GAP)
        drawn.style(f"height: {height}px")
        base = f"/api/v1{self._path}/{self._episode['id']}/frames"
        about = {
            "rows": signals["row"],
            "chart": drawn.html_id,
            "pictures": [
                {"id": picture.html_id, "path": f"{base}/{quote(camera, safe='')}"}
                for camera, picture in pictures
            ],
        }
        ui.run_javascript(f"lookThrough({json.dumps(about)})")

    def _picture(self, camera: str) -> ui.element:
        """Where a camera's pictures are shown, and all of them as one file to take along."""
        path = f"/api/v1{self._path}/{self._episode['id']}/video/{quote(camera, safe='')}.png"
        with ui.element("div").classes("stack-y tight"):
            picture = named(ui.element("img"), f"frame-{camera}")
            picture.props["alt"] = camera
            with ui.link(target=path).props("download").classes("quiet line") as link:
                ui.icon("download", size="18px")
                ui.label(f"{camera} as a video")
            named(link, f"video-{camera}").tooltip("animated PNG")
        return picture

    def _scrubber(self) -> None:
        with ui.element("div").classes("scrub"):
            play = (
                ui.button(icon="play_arrow", color=None)
                .props("flat round dense")
                .props("data-mark=play")
            )
            play.on("click", js_handler="() => lookThrough.play()").props('id="episode-play"')
            ui.html(_SLIDER, sanitize=False).classes("slider")
            ui.element("output").props('id="episode-at"').classes("quiet")

    def _buttons(self) -> None:
        for text, icon, said in (
            ("Success", "check", {"outcome": "success"}),
            ("Failure", "close", {"outcome": "failure"}),
            ("No mark", "remove", {"outcome": None}),
            ("Discard", "delete_outline", {"discarded": True}),
            ("Keep", "restore_from_trash", {"discarded": False}),
        ):
            button(text, icon, self._marks(said))

    def _marks(self, said: Json) -> Callable[[], Awaitable[None]]:
        async def mark() -> None:
            path = f"{self._path}/{self._episode['id']}"
            if await self._visit.act("PATCH", path, said, said="noted"):
                await self._changed()

        return mark


def _strips(columns: dict[str, list[Any]]) -> dict[str, list[list[float | None]]]:
    """The signals to draw, rewards and actions first; each is a list of lines."""
    names = [name for name in (*_FIRST, *columns) if name in columns and name not in _HIDDEN]
    return {name: found for name in dict.fromkeys(names) if (found := _lines(columns[name]))}


def _lines(column: list[Any]) -> list[list[float | None]]:
    """A column as lines; none when it is no column of numbers or too wide."""
    first = column[0] if column else None
    if isinstance(first, list):
        flat = all(not isinstance(value, list | str) for value in first)
        narrow = 0 < len(first) <= _MOST_LINES
        return [list(line) for line in zip(*column, strict=True)] if flat and narrow else []
    if isinstance(first, str) or first is None:
        return []
    return [[float(value) if value is not None else None for value in column]]


def _options(strips: dict[str, list[list[float | None]]], signals: dict[str, Any]) -> Json:
    """A strip per signal, one below the other, over the same rows, with one pointer through all."""
    rows = signals["row"]
    options = charts.stacked(list(strips), _TOP, _HEIGHT, _GAP)
    for place, (name, lines) in enumerate(strips.items()):
        for number_of, values in enumerate(lines):
            title = name if len(lines) == 1 else f"{name} {number_of}"
            pairs = [[row, value] for row, value in zip(rows, values, strict=True)]
            options["series"].append(charts.strip_line(title, pairs, place, number_of))
    if options["series"]:
        options["series"][0]["markArea"] = charts.areas(_by_source(signals))
    return options


def _by_source(signals: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Who acted, from which row to which, where it was not the policy alone."""
    rows, sources = signals["row"], signals["columns"].get(SOURCE, [])
    stretches: list[tuple[str, int, int]] = []
    for row, source in zip(rows, sources, strict=False):
        name = Source(source).name.lower()
        if stretches and stretches[-1][0] == name:
            stretches[-1] = (name, stretches[-1][1], row)
        else:
            stretches.append((name, row, row))
    return stretches
