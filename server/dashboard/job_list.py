"""Long work on datasets, newest first: how far each job is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from nicegui import ui

from server.dashboard.parts import button, named, pill, sure
from server.dashboard.visit import Visit

_SHOWN = 20
_KINDS = {"running": "busy", "done": "good", "failed": "bad"}


class JobList:
    """The jobs that the server knows of; a finished export can be had from its row.

    Args:
        visit: the page.
        wanted: which jobs to show.
    """

    def __init__(self, visit: Visit, wanted: Callable[[dict[str, Any]], bool]) -> None:
        self._visit, self._wanted = visit, wanted
        self._seen: dict[str, tuple[dict[str, Any], bool]] = {}
        self._rows: dict[str, ui.element] = {}
        self._none = ui.label("None since the server started.").classes("quiet")
        self._box = ui.element("div").classes("jobs")

    async def refresh(self) -> bool:
        """Bring it up to date; whether a job is another than it was, or has ended."""
        jobs = [job for job in await self._visit.get("/jobs") if self._wanted(job)][-_SHOWN:]
        exports = await self._visit.get("/exports")
        seen = {job["id"]: (job, job["id"] in exports) for job in jobs}
        changed = _states(seen) != _states(self._seen)
        for name in [name for name in self._rows if name not in seen]:
            self._rows.pop(name).delete()
        for name, about in seen.items():
            if self._seen.get(name) != about:
                self._show(name, *about)
        self._none.set_visibility(not seen)
        self._seen = seen
        return changed

    def _show(self, name: str, job: dict[str, Any], there: bool) -> None:
        """The row is made anew: nothing in it is worth keeping but its place."""
        if name not in self._rows:
            with self._box:
                self._rows[name] = named(ui.element("div").classes("job"), f"job-{name}")
            self._rows[name].move(self._box, target_index=0)
        row = self._rows[name]
        row.clear()
        with row:
            with ui.element("div").classes("line"):
                ui.label(f"{job['kind']} {self._title(job)}").classes("heading")
                pill(job["state"], _KINDS[job["state"]])
                ui.element("div").classes("space")
                if there:
                    export_buttons(self._visit, name)
            ui.label(_words(job)).classes("quiet wrap")
            if job["state"] == "running":
                _bar(job)

    def _title(self, job: dict[str, Any]) -> str:
        """An export is of an experiment, all else of a dataset."""
        known = {e.id: e.name for e in self._visit.service.experiments.all()}
        return known.get(job["name"], job["name"]) if job["kind"] == "export" else str(job["name"])


def export_buttons(visit: Visit, export: str) -> None:
    """What can be done with a finished export."""
    path = f"/exports/{quote(export, safe='')}"
    link = ui.link(target=f"/api/v1{path}/archive").props("download")
    with named(link.tooltip("download, as one tar file"), f"download-{export}"):
        ui.icon("download", size="20px").classes("quiet")

    async def delete() -> None:
        if await sure("Delete this export from the server?", "Delete"):
            await visit.act("DELETE", path)

    if visit.may_act:
        shown = button("", "delete_outline", delete, hint="delete it from the server")
        named(shown, f"delete-export-{export}")


def _bar(job: dict[str, Any]) -> None:
    bar = ui.element("progress").classes("wide-bar")
    if job["total"]:  # else nobody knows yet, which a bar without a value says
        bar.props["max"], bar.props["value"] = job["total"], job["done"]


def _states(seen: dict[str, tuple[dict[str, Any], bool]]) -> dict[str, tuple[str, bool]]:
    return {name: (job["state"], there) for name, (job, there) in seen.items()}


def _words(job: dict[str, Any]) -> str:
    """How far it is, or what came of it."""
    if job["state"] == "failed":
        return str(job["error"])
    if job["state"] == "running":
        return f"{job['done']} of {job['total']}" if job["total"] else "begins"
    result = job["result"]
    if job["kind"] == "verify":
        return "; ".join(result["problems"]) or f"whole: {result['rows']:,} rows"
    if job["kind"] == "export":
        notes = [f"not in it: {text}" for text in result["left_out"]]
    else:
        notes = result["notes"]
    return "; ".join([f"{result['episodes']:,} episodes, {result['rows']:,} rows", *notes])
