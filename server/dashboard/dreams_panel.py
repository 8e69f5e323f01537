"""What an experiment's world model expects: strips of truth, prediction and error, as they come."""

from __future__ import annotations

from urllib.parse import quote

from nicegui import ui

from server.dashboard.parts import named, panel
from server.dashboard.visit import Visit
from server.feed import News

_ABOUT = "sees five steps, then only the actions"


class DreamsPanel:
    """The newest picture of each name that the learner draws.

    Args:
        visit: the page.
        experiment: whose learner.
    """

    def __init__(self, visit: Visit, experiment: str) -> None:
        self._visit, self._experiment = visit, experiment
        self._pictures: dict[str, ui.element] = {}
        with panel("What the world model expects", more=_ABOUT) as self._box:
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
                self._pictures[name] = self._place_for(name.removeprefix("open_loop_"))
        path = f"/api/v1/experiments/{quote(self._experiment, safe='')}/reports/latest"
        self._pictures[name].props["src"] = f"{path}?name={quote(name, safe='')}&at={time}"

    def _place_for(self, title: str) -> ui.element:
        """Words beside a strip of a camera, whose rows they name; above a drawing of numbers."""
        ui.label(title).classes("heading")
        if not self._is_camera(title):
            ui.label("truth grey, prediction orange").classes("field-hint")
            return _picture(title).classes("drawn")
        with ui.element("div").classes("rows3"):
            with ui.element("div").classes("labels"):
                for word in ("truth", "prediction", "error"):
                    ui.label(word)
            return _picture(title)

    def _is_camera(self, key: str) -> bool:
        space = self._visit.service.experiments.get(self._experiment).observation_space or {}
        about = space.get("spaces", {}).get(key, {})
        return about.get("dtype") == "uint8" and len(about.get("shape", ())) == 3


def _picture(title: str) -> ui.element:
    with ui.element("div").classes("strip-scroll"):
        picture = named(ui.element("img"), f"dream-{title}")
    picture.props["alt"] = f"{title}: truth, prediction and error"
    return picture
