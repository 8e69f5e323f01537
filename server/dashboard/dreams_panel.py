"""What an experiment's world model expects: the pictures that its learner draws, as they come."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from nicegui import ui

from server.dashboard.parts import named, panel
from server.dashboard.visit import Visit
from server.feed import News

_OPEN_LOOP = "open_loop_"


@dataclass(frozen=True)
class Caption:
    """The words that go with a picture.

    Args:
        title: above it.
        about: below the title: what was seen of it.
        rows: of a strip of pictures, which lie under each other; none: a single row.
        drawn: whether it is a drawing of numbers.
    """

    title: str
    about: str
    rows: tuple[str, ...] = ()
    drawn: bool = False


# World Models' own; every other report is an open-loop prediction of one observation.
_NAMED = {
    "seen": Caption(
        "reconstruction", "each picture, and what its code keeps", ("truth", "redrawn")
    ),
    "dreamt": Caption("dream", "imagined from starts that were seen, none of it happened"),
}


def caption(name: str, is_camera: bool) -> Caption:
    """What to say of a report, by its name and whether it is of a camera."""
    if name in _NAMED:
        return _NAMED[name]
    title, about = name.removeprefix(_OPEN_LOOP), "sees five steps, then only the actions"
    if is_camera:
        return Caption(title, about, ("truth", "prediction", "error"))
    return Caption(title, f"{about}; truth grey, prediction orange", drawn=True)


class DreamsPanel:
    """The newest picture of each name that the learner draws.

    Args:
        visit: the page.
        experiment: whose learner.
    """

    def __init__(self, visit: Visit, experiment: str) -> None:
        self._visit, self._experiment = visit, experiment
        self._pictures: dict[str, ui.element] = {}
        with panel("What the world model expects") as self._box:
            self._body = ui.element("div").classes("stack-y")
        self._box.set_visibility(False)

    async def load(self) -> None:
        """Show what there is."""
        path = f"/experiments/{quote(self._experiment, safe='')}/reports"
        for name in await self._visit.get(path):
            self._show(name, self._visit.house.now())

    def refresh(self, heard: list[News]) -> None:
        """Show what has been drawn since."""
        for news in heard:
            if news.kind == "report" and news.experiment == self._experiment:
                self._show(str(news.data["name"]), float(news.data["time"]))

    def _show(self, name: str, time: float) -> None:
        self._box.set_visibility(True)
        if name not in self._pictures:
            with self._body:
                key = name.removeprefix(_OPEN_LOOP)
                self._pictures[name] = _place_for(caption(name, self._is_camera(key)))
        path = f"/api/v1/experiments/{quote(self._experiment, safe='')}/reports/latest"
        self._pictures[name].props["src"] = f"{path}?name={quote(name, safe='')}&at={time}"

    def _is_camera(self, key: str) -> bool:
        space = self._visit.service.experiments.get(self._experiment).observation_space or {}
        about = space.get("spaces", {}).get(key, {})
        return about.get("dtype") == "uint8" and len(about.get("shape", ())) == 3


def _place_for(words: Caption) -> ui.element:
    """A title, what was seen, and the picture with the names of its rows beside it."""
    ui.label(words.title).classes("heading")
    ui.label(words.about).classes("field-hint")
    if not words.rows:
        return _picture(words).classes("drawn" if words.drawn else "")
    with ui.element("div").classes("rows3"):
        with ui.element("div").classes("labels"):
            for word in words.rows:
                ui.label(word)
        return _picture(words)


def _picture(words: Caption) -> ui.element:
    with ui.element("div").classes("strip-scroll"):
        picture = named(ui.element("img"), f"dream-{words.title}")
    picture.props["alt"] = f"{words.title}: {', '.join(words.rows) or words.about}"
    return picture
