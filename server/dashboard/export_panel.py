"""Export an experiment's episodes, and watch it done."""

from __future__ import annotations

from nicegui import ui

from server.api.datasets import NewExport
from server.dashboard.fields import hint_of
from server.dashboard.job_list import JobList
from server.dashboard.parts import button, named, panel
from server.dashboard.visit import Refused, Visit

FORMATS = {"lerobot": "LeRobot v3", "minari": "Minari"}
_IMAGES = {"png": "every bit (PNG)", "video": "smaller (H.264 video)"}
_PROPS = "dense outlined options-dense"


class ExportPanel:
    """What is to be exported, and the exports of this experiment so far.

    Args:
        visit: the page.
        experiment: whose episodes.
    """

    def __init__(self, visit: Visit, experiment: str) -> None:
        self._visit, self._experiment = visit, experiment
        with panel("Export episodes", more="as a dataset in one tar file"):
            if visit.may_act:
                self._form()
            self._jobs = JobList(visit, self._is_mine)

    async def refresh(self) -> None:
        """Bring the jobs up to date."""
        await self._jobs.refresh()

    def _is_mine(self, job: dict[str, object]) -> bool:
        return job["kind"] == "export" and job["name"] == self._experiment

    def _form(self) -> None:
        about = NewExport.model_json_schema()["properties"]
        with ui.element("div").classes("bar"):
            self._format = ui.select(FORMATS, value="lerobot", label="format")
            self._images = ui.select(_IMAGES, value="png", label="images")
            self._episodes = ui.input("episodes", placeholder="all")
            for name, field in (
                ("format", self._format),
                ("images", self._images),
                ("episodes", self._episodes),
            ):
                field.props(_PROPS).classes("filter wider").tooltip(hint_of(about[name]))
                named(field, f"export-{name}")
            self._episodes.props("stack-label")
            named(button("Export", "file_upload", self._export, "solid"), "export")

    async def _export(self) -> None:
        self._episodes.error = None
        wanted = {
            "experiment": self._experiment,
            "format": self._format.value,
            "images": self._images.value,
            "episodes": self._episodes.value or "",
        }
        try:
            await self._visit.ask("POST", "/exports", wanted)
        except Refused as error:
            if error.field == "episodes":
                self._episodes.error = str(error)
            else:
                self._visit.complain(str(error))
            return
        await self.refresh()
