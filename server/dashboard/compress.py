"""Compress a policy: the form that begins it, and how teacher and student compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from nicegui import ui

from robot_client.schema import Json
from server.compression import AGENT, TEACHERS, Compression
from server.dashboard.fields import SchemaForm
from server.dashboard.parts import (
    NONE,
    asking,
    button,
    cell,
    named,
    number,
    panel,
    pill,
    size_of,
    table,
)
from server.dashboard.visit import Refused, Visit

_OWN = ("name", "robots", "config")  # have a field or a form of their own
_GIVEN = (TEACHERS, "rows", "batch_size")  # of the agent's settings: said once, outside of them
_PROPS = "dense outlined"


async def ask_to_compress(visit: Visit, experiment: str, version: int) -> None:
    """Open a dialog that asks what the smaller policy is to be like, and then begins."""
    with asking("broad") as dialog:
        ui.label(f"Compress version {version} into a smaller policy").classes("heading")
        ui.label(
            "A new experiment starts, in which a small network learns to act as this version does, "
            "from copies of it and of the newest rows. Robots that join may move at once."
        ).classes("quiet")
        path = f"/experiments/{quote(experiment, safe='')}/policies/{version}/compress"
        form = _Form(visit, path)
        await form.build(dialog.close)
    dialog.on("hide", dialog.delete)
    dialog.open()


class _Form:
    """All there is to say; what is left empty holds as it stands in grey."""

    def __init__(self, visit: Visit, path: str) -> None:
        self._visit, self._path = visit, path

    async def build(self, close: Callable[[], object]) -> None:
        """Its fields, where NiceGUI stands now."""
        self._trouble = named(ui.label().classes("trouble"), "compress-trouble")
        self._trouble.set_visibility(False)
        with ui.element("div").classes("form"):
            self._name = named(ui.input("name").props(_PROPS), "compress-name")
            names = [robot.name for robot in self._visit.house.robots()]
            self._robots = ui.select(
                names,
                label="robots that join",
                multiple=True,
                value=[],
                new_value_mode="add-unique",
            )
            named(self._robots.props(f"{_PROPS} use-chips"), "compress-robots")
            self._learning = _form_of(Compression.model_json_schema(), _OWN)
        ui.label("The student").classes("heading")
        with ui.element("div").classes("form"):
            self._student = await self._student_form()
        with ui.element("div").classes("buttons"):
            button("Cancel", "close", close)
            self._button = named(button("Compress", "compress", self._send, "solid"), "compress")

    async def _student_form(self) -> SchemaForm:
        """The settings of the agent that learns from teachers, but for those asked for above."""
        try:
            agent = await self._visit.get(f"/agents/{AGENT}")
        except Refused as error:
            ui.label(f"Its settings cannot be shown: {error}").classes("quiet")
            return SchemaForm({})
        return _form_of(agent["config_schema"] or {}, _GIVEN)

    async def _send(self) -> None:
        self._clear()
        self._button.props("loading")
        try:
            made = await self._visit.ask("POST", self._path, self._wanted())
        except Refused as error:
            self._show(error)
            return
        finally:
            self._button.props(remove="loading")
        ui.navigate.to(f"/experiments/{made['id']}")

    def _wanted(self) -> Json:
        about = {"robots": self._robots.value or [], "config": self._student.changed()}
        name = {"name": self._name.value} if self._name.value else {}
        return about | name | self._learning.changed()

    def _clear(self) -> None:
        self._trouble.set_visibility(False)
        self._name.error = self._robots.error = None
        self._learning.clear_problems()
        self._student.clear_problems()

    def _show(self, error: Refused) -> None:
        """At its field, if there is one; above the form too, where it cannot be missed."""
        self._trouble.text = str(error)
        self._trouble.set_visibility(True)
        field = error.field.partition(".")[0]
        if field in ("name", "robots"):
            (self._name if field == "name" else self._robots).error = str(error)
        elif field == "config":
            self._student.show_problem(error.field.removeprefix("config."), str(error))
        else:
            self._learning.show_problem(error.field, str(error))


class ComparisonPanel:
    """A student beside its teachers: sizes and returns; nothing for other experiments.

    Args:
        visit: the page.
        experiment: whose policy may be a student.
    """

    def __init__(self, visit: Visit, experiment: str) -> None:
        self._visit, self._experiment = visit, experiment
        self._path = f"/experiments/{quote(experiment, safe='')}"
        self._seen: Any = None
        with panel("Teacher and student") as self._box:
            self._share = named(ui.label(), "compression-share")
            with ui.element("div").classes("scroll"):
                columns = ("", "experiment", "version", "size", "return", "without exploring")
                self._body = table(*columns)
        self._box.set_visibility(False)

    async def load(self) -> None:
        """Read it again. Raises Refused."""
        config = self._visit.service.experiments.get(self._experiment).config
        if not config.get(TEACHERS):
            return
        found = await self._visit.get(f"{self._path}/compression")
        if found == self._seen:
            return
        self._seen = found
        self._box.set_visibility(True)
        share = found["share"]
        self._share.text = (
            "The student has no version yet."
            if share is None
            else f"The student takes {100 * share:.3g} % of the bytes of what it learns from."
        )
        self._body.clear()
        for role, side in _sides(found):
            with self._body, named(ui.element("tr"), f"compression-{role}"):
                self._row(role, side)

    def _row(self, role: str, side: dict[str, Any]) -> None:
        names = {e.id: e.name for e in self._visit.service.experiments.all()}
        with cell():
            pill(role, "busy" if role == "student" else "off")
        with cell():
            target = f"/experiments/{side['experiment']}/policies"
            ui.link(names.get(side["experiment"], side["experiment"]), target).classes("heading")
        cell(f"v{side['version']}")
        cell(size_of(side["nbytes"]))
        for returns in (side["returns"], side["evaluation"]):
            cell(_mean(returns))


def _form_of(schema: Json, without: tuple[str, ...]) -> SchemaForm:
    """The form of an object's schema, but for some of its properties."""
    properties = {name: p for name, p in schema["properties"].items() if name not in without}
    form = SchemaForm(schema | {"properties": properties})
    form.begin_with({})
    return form


def _sides(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    student = [("student", found["student"])] if found["student"] else []
    return [*(("teacher", side) for side in found["teachers"]), *student]


def _mean(returns: dict[str, Any] | None) -> str:
    """With its interval, if there are episodes enough for one, and their number."""
    if returns is None:
        return NONE
    low, high = returns["lower"], returns["upper"]
    bounds = f" ({number(low)} to {number(high)})" if low is not None else ""
    return f"{number(returns['mean'])}{bounds}, {number(returns['episodes'])} episodes"
