"""A new experiment: a form that the agent's own schema makes."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from server.dashboard.fields import SchemaForm
from server.dashboard.parts import button, panel, pill
from server.dashboard.visit import Refused, Visit
from server.job import LearnerSettings

_USUAL = "dreamer"
_ACCEPTS = ("continuous", "discrete", "vectors", "images", "goals")


async def build(visit: Visit) -> None:
    """The page."""
    if not visit.may_act:
        ui.label("A viewer looks; it takes an operator to make an experiment.").classes("trouble")
        return
    waiting = ui.label("Asking which agents there are …").classes("quiet")
    await visit.client.connected()
    try:
        agents = {agent["name"]: agent for agent in await visit.get("/agents")}
    except Refused as error:
        waiting.text = str(error)
        return
    waiting.delete()
    datasets = await visit.get("/datasets")
    _Form(visit, agents, [dataset["name"] for dataset in datasets])


class _Form:
    """All there is to say of a new experiment."""

    def __init__(self, visit: Visit, agents: dict[str, Any], datasets: list[str]) -> None:
        self._visit, self._agents = visit, agents
        self._creating = False
        self._trouble = ui.label().classes("trouble").props("data-mark=form-trouble")
        self._trouble.set_visibility(False)
        with ui.element("div").classes("two"):
            with ui.element("div").classes("stack-y"):
                with panel("Experiment"), ui.element("div").classes("form"):
                    self._common(datasets)
                with panel("Settings of the agent", more="what you leave alone stays as it is"):
                    self._config_box = ui.element("div").classes("form")
                with panel("Learner"), ui.element("div").classes("form"):
                    self._learner = SchemaForm(LearnerSettings.model_json_schema())
                    self._learner.begin_with({})
            with ui.element("div").classes("stack-y sticky"):
                with panel("The agent"):
                    self._doc = ui.label()
                    ui.label("accepts").classes("field-hint")
                    self._accepts = ui.element("div").classes("accepts").props("data-mark=accepts")
                with ui.element("div").classes("bar"):
                    self._button = button("Create", "check", self._create, "solid")
                    self._button.props("data-mark=create")
                    self._start = ui.checkbox("and start it", value=True).props(
                        "data-mark=and-start"
                    )
                self._working = ui.label("Creating it: the agent looks through its settings …")
                self._working.classes("quiet").set_visibility(False)
        self._config = SchemaForm({})
        self._show_agent()

    def _common(self, datasets: list[str]) -> None:
        names = list(self._agents)
        first = _USUAL if _USUAL in names else names[0]
        robots = [robot.name for robot in self._visit.house.robots()]
        self._name = (
            ui.input("name").props("dense outlined autofocus").props("data-mark=field-name")
        )
        self._agent = ui.select(names, value=first, label="agent", on_change=self._show_agent)
        self._agent.props("dense outlined options-dense").props("data-mark=field-agent")
        self._preset = ui.select({}, label="preset", on_change=self._show_preset)
        self._preset.props("dense outlined options-dense").props("data-mark=field-preset")
        self._robots = ui.select(
            robots,
            label="robots; none: any that is free",
            multiple=True,
            value=[],
            new_value_mode="add-unique",
        )
        self._robots.props("dense outlined use-chips").props("data-mark=field-robots")
        asked = self._visit.client.request.query_params.getlist("begins-with")
        chosen = [name for name in datasets if name in asked]
        self._datasets = ui.select(datasets, label="begins with", multiple=True, value=chosen)
        self._datasets.props("dense outlined use-chips").props("data-mark=field-demonstrations")
        self._notes = ui.input("notes").props("dense outlined").props("data-mark=field-notes")

    def _show_agent(self) -> None:
        """The form of the agent that is chosen."""
        agent = self._agents[self._agent.value]
        self._doc.text = agent["error"] or agent["doc"].partition("\n\n")[0]
        self._accepts.clear()
        with self._accepts:
            for name in _ACCEPTS:
                pill(name, "good" if name in agent["accepts"] else "off")
        presets = {"": "none: the paper's settings"} | {p: p for p in agent["presets"]}
        usual = "laptop" if "laptop" in agent["presets"] else ""
        self._preset.set_options(presets, value=usual)
        self._config_box.clear()
        with self._config_box:
            self._config = SchemaForm(agent["config_schema"] or {})
        self._show_preset()

    def _show_preset(self) -> None:
        agent = self._agents[self._agent.value]
        self._config.begin_with(agent["preset_configs"].get(self._preset.value or "", {}))

    async def _create(self) -> None:
        if self._creating:  # clicked twice
            return
        self._creating = True
        self._clear_problems()
        self._show_working(True)  # before anything is awaited: a second click finds it disabled
        try:
            made = await self._visit.ask("POST", "/experiments", self._new())
            if self._start.value:
                await self._visit.ask("POST", f"/experiments/{made['id']}/start")
        except Refused as error:
            self._creating = False
            self._show_problem(error)
            self._show_working(False)
            return
        ui.navigate.to(f"/experiments/{made['id']}")

    def _show_working(self, works: bool) -> None:
        self._button.set_enabled(not works)
        self._button.props(add="loading" if works else None, remove=None if works else "loading")
        self._working.set_visibility(works)

    def _new(self) -> dict[str, Any]:
        about = {
            "name": self._name.value or "",
            "agent": self._agent.value,
            "preset": self._preset.value or None,
            "config": self._config.changed(),
            "robots": self._robots.value or [],
            "demonstrations": self._datasets.value or [],
            "notes": self._notes.value or "",
        }
        return about | self._learner.changed()

    def _clear_problems(self) -> None:
        self._trouble.set_visibility(False)
        self._name.error = None
        self._config.clear_problems()
        self._learner.clear_problems()

    def _show_problem(self, error: Refused) -> None:
        """At its field, if the form has it; above the form too, where it cannot be missed."""
        self._trouble.text = str(error)
        self._trouble.set_visibility(True)
        if error.field == "name":
            self._name.error = str(error)
        elif error.field.startswith("config."):
            self._config.show_problem(error.field.removeprefix("config."), str(error))
        else:
            self._learner.show_problem(error.field, str(error))
