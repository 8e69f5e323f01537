"""Datasets that experiments can begin with, exports that can be fetched, and the work on both."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

from nicegui import ui

from server.dashboard.export_panel import FORMATS
from server.dashboard.job_list import JobList, export_buttons
from server.dashboard.parts import (
    button,
    cell,
    clock,
    named,
    number,
    panel,
    pill,
    sure,
    table,
)
from server.dashboard.visit import Visit
from server.feed import News

_LOOK_S = 3.0  # another may have changed something


async def build(visit: Visit) -> None:
    """The page."""
    shelf = _Shelf(visit)
    with ui.element("div").classes("two even"):
        with ui.element("div").classes("stack-y"):
            if visit.may_act:
                _import_form(visit)
            exports = _Exports(visit)
        with panel("Jobs", more="exports, imports and checks since the server started"):
            jobs = JobList(visit, lambda _job: True)
    looked_at = 0.0

    async def refresh(_news: list[News]) -> None:
        nonlocal looked_at
        now = visit.house.now()
        if await jobs.refresh() or now - looked_at >= _LOOK_S:
            looked_at = now
            await shelf.load()
            await exports.load()

    await refresh([])
    visit.follow(refresh)


class _Shelf:
    """Every dataset of the server."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._seen: Any = None
        with panel("Datasets", more="experiments can begin with them"):
            self._none = ui.label("There is no dataset yet: import one.").classes("quiet")
            with ui.element("div").classes("scroll shelf") as self._box:
                columns = ("name", "format", "episodes", "rows", "pace", "robots", "tasks")
                self._body = table(*columns, "imported", "")

    async def load(self) -> None:
        """Read them again. Raises Refused."""
        found = await self._visit.get("/datasets")
        if found == self._seen:
            return
        self._seen = found
        self._none.set_visibility(not found)
        self._box.set_visibility(bool(found))
        self._body.clear()
        for dataset in found:
            with self._body:
                self._row(dataset)

    def _row(self, dataset: dict[str, Any]) -> None:
        name = dataset["name"]
        with named(ui.element("tr"), f"dataset-{name}"):
            with cell(classes="wrap"), ui.element("div").classes("accepts"):
                ui.label(name).classes("heading wrap").tooltip(f"sha256 {dataset['sha256']}")
                notes = [*dataset["notes"], *(f"lossy: {column}" for column in dataset["lossy"])]
                if notes:
                    pill("notes", "warn").tooltip("; ".join(notes))
            cell(FORMATS.get(dataset["format"], dataset["format"]))
            cell(number(dataset["episodes"]))
            cell(number(dataset["rows"]))
            cell(f"{dataset['control_hz']:g} Hz")
            cell(", ".join(dataset["robots"]), "wrap")
            cell(", ".join(filter(None, dataset["tasks"])), "wrap")
            cell(clock(dataset["created_at"], date=True))
            with cell(classes="right"):
                if self._visit.may_act:
                    self._buttons(name)

    def _buttons(self, name: str) -> None:
        target = f"/new?begins-with={quote(name, safe='')}"
        begin = partial(ui.navigate.to, target)
        hint = "an experiment that begins with these rows"
        named(button("New experiment", "science", begin, hint=hint), f"begin-{name}")
        verify = partial(self._verify, name)
        shown = button("Verify", "fact_check", verify, hint="is it whole and as it was imported?")
        named(shown, f"verify-{name}")
        named(button("Delete", "delete_outline", partial(self._delete, name)), f"delete-{name}")

    async def _verify(self, name: str) -> None:
        path = f"/datasets/{quote(name, safe='')}"
        await self._visit.act("POST", f"{path}/verify", said=f"checking {name}")

    async def _delete(self, name: str) -> None:
        path = f"/datasets/{quote(name, safe='')}"
        question = f"Delete the dataset {name}? Experiments that began with it keep their copy."
        if await sure(question, "Delete"):
            await self._visit.act("DELETE", path)
            await self.load()


class _Exports:
    """The finished exports, those of before a restart too."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._seen: Any = None
        with panel("Exports", more="an experiment's page Data makes them"):
            self._none = ui.label("There is none on the server.").classes("quiet")
            with ui.element("div").classes("scroll") as self._box:
                self._body = table("export", "of", "")

    async def load(self) -> None:
        """Read them again. Raises Refused."""
        found = await self._visit.get("/exports")
        if found == self._seen:
            return
        self._seen = found
        of = {job["id"]: job["name"] for job in await self._visit.get("/jobs")}
        names = {e.id: e.name for e in self._visit.service.experiments.all()}
        self._none.set_visibility(not found)
        self._box.set_visibility(bool(found))
        self._body.clear()
        for export in found:
            with self._body, ui.element("tr"):
                cell(export, "mono")
                cell(names.get(of.get(export, ""), "made before the server's last start"))
                with cell(classes="right"), ui.element("div").classes("line end"):
                    export_buttons(self._visit, export)


def _import_form(visit: Visit) -> None:
    """The file goes from the browser to REST (page.js): it may be larger than what fits here."""
    robots = {"": "as in the dataset"} | {r.name: f"as {r.name}" for r in visit.house.robots()}
    with panel("Import a dataset", more="a tar of a LeRobot v3 or Minari dataset's folder") as box:
        box.props["id"], box.props["data-robot"] = "import", ""

        def choose() -> None:
            box.props["data-robot"] = spaces.value or ""

        with ui.element("div").classes("bar"):
            name = ui.input("name").props("dense outlined").classes("filter wider")
            named(name, "import-name")
            spaces = ui.select(robots, value="", label="spaces", on_change=choose)
            spaces.props("dense outlined options-dense").classes("filter wider")
            named(spaces, "import-robot").tooltip(
                "which spaces a dataset should have that is no export of ours"
            )
            file = ui.element("input").props('type=file id="import-file" accept=".tar"')
            named(file, "import-file").props["aria-label"] = "the dataset's tar file"
            made = ui.button("Import", icon="file_download", color=None)
            made.props("flat dense no-caps").classes("solid")
            named(made, "import").on("click", js_handler="importDataset")
        bar = ui.element("progress").props('id="import-bar" hidden').classes("wide-bar")
        bar.props["max"] = 1
        said = ui.label().props('id="import-said" role=status aria-live=polite')
        named(said.classes("quiet wrap"), "import-said")
