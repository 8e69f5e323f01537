"""How good each version is without exploring, and by which rule versions reach the robots."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

from nicegui import ui

from robot_client.schema import Json
from server.dashboard import charts
from server.dashboard.events_panel import EventsPanel
from server.dashboard.parts import (
    NONE,
    Figure,
    button,
    cell,
    clock,
    named,
    number,
    panel,
    pill,
    table,
)
from server.dashboard.settings_form import SettingsForm
from server.dashboard.visit import Refused, Visit
from server.evaluation.evaluations import NewEvaluation
from server.evaluation.settings import EvaluationSettings, RolloutSettings
from server.feed import News

_DRAWN, _SHOWN = 300, 40  # versions in the plot, evaluations in the table
_LOOK_S = 2.0
_KINDS = {"running": "busy", "done": "good", "cancelled": "off", "failed": "bad"}
_NO_NEWS: Json = {name: field.get_default() for name, field in NewEvaluation.model_fields.items()}
_DECISIONS = (
    *("rollout_begun", "rollout_canary", "rollout_promoted", "rollout_rolled_back"),
    *("rollout_released", "rollout_failed", "best_policy", "policy_pinned", "policy_unpinned"),
    *("evaluation_failed", "evaluation_cancelled"),
)


async def build(visit: Visit, experiment: str) -> None:
    """The page."""
    path = f"/experiments/{quote(experiment, safe='')}"
    try:
        about = await visit.get(path)
        shown = _Shown(visit, path)
        await shown.load()
    except Refused as error:
        ui.label(str(error)).classes("trouble")
        return
    with ui.element("div").classes("two"):
        with ui.element("div").classes("stack-y"):
            shown.build()
            decisions = EventsPanel(visit, experiment, _DECISIONS, "Decisions")
        with ui.element("div").classes("stack-y"):
            if visit.may_act:
                _forms(visit, path, about)
    await decisions.load()
    shown.show()
    visit.follow(shown.refresh)
    visit.follow(decisions.refresh)


def _forms(visit: Visit, path: str, about: dict[str, Any]) -> None:
    robots = [r.name for r in visit.house.robots() if r.experiment == about["id"]]
    with panel("Evaluate now", more="empty version: what robots are offered"):
        form = SettingsForm(NewEvaluation.model_json_schema(), _NO_NEWS, robots, "new")
        _submit(visit, form, "Start", "play_arrow", ("POST", f"{path}/evaluations", ""))
    with panel("Schedule", more="as soon as any period has passed; none: on demand"):
        schema = EvaluationSettings.model_json_schema()
        form = SettingsForm(schema, about["evaluation"], robots, "schedule")
        _submit(visit, form, "Save schedule", "save", ("PATCH", path, "evaluation"))
    with panel("Roll-out rule", more="canaries first, back when it is worse"):
        schema = RolloutSettings.model_json_schema()
        form = SettingsForm(schema, about["rollout"], robots, "rule")
        _submit(visit, form, "Save rule", "save", ("PATCH", path, "rollout"))


def _submit(
    visit: Visit, form: SettingsForm, text: str, icon: str, where: tuple[str, str, str]
) -> None:
    """A button that sends a form: method, path, and under which name, if under any."""
    method, path, name = where

    async def send() -> None:
        form.clear_problems()
        values = form.values()
        try:
            await visit.ask(method, path, {name: values} if name else values)
        except Refused as error:
            if not form.show_problem(error.field, str(error)):
                visit.complain(str(error))
            return
        visit.say(f"{text}: done")

    with ui.element("div").classes("buttons"):
        named(button(text, icon, send, "solid"), text.lower().replace(" ", "-"))


class _Shown:
    """Figures, the plot of intervals by version, and the evaluations."""

    def __init__(self, visit: Visit, path: str) -> None:
        self._visit, self._path = visit, path
        self._loaded_at = 0.0
        self._seen: Any = None
        with ui.element("div").classes("figures"):
            self._best = Figure("best, by the lower bound")
            self._offered = Figure("offered to robots")
            self._trial = Figure("on trial")
            self._running = Figure("being evaluated")
        named(self._best.box, "best")
        named(self._trial.box, "trial")

    def build(self) -> None:
        """The plot and the table, where NiceGUI stands now."""
        with panel("Return by version, without exploring", more="mean and its 95 % interval"):
            self._chart = charts.chart().props("data-mark=intervals")
            self._chart.options["xAxis"] |= {"boundaryGap": ["4%", "4%"], "minInterval": 1}
            self._none = ui.label("No version has been evaluated yet.").classes("quiet")
        with ui.element("section").classes("panel scroll more"):
            columns = ("no.", "version", "state", "played", "mean", "95 % interval", "robots")
            self._body = table(*columns, "begun", "by", "")

    async def load(self) -> bool:
        """Read it all; whether something is new. Raises Refused."""
        self._loaded_at = self._visit.house.now()
        policies = await self._visit.get(f"{self._path}/policies", limit=_DRAWN)
        rollout = await self._visit.get(f"{self._path}/rollout")
        evaluations = await self._visit.get(f"{self._path}/evaluations", limit=_SHOWN)
        seen = ([p for p in policies["items"] if p["evaluation"]], rollout, evaluations["items"])
        changed = bool(seen != self._seen)
        self._seen = seen
        return changed

    async def refresh(self, heard: list[News]) -> None:
        """Read it again when something may have changed, though not all the time."""
        if self._visit.house.now() - self._loaded_at >= _LOOK_S and await self.load():
            self.show()

    def show(self) -> None:
        """What has been read."""
        policies, rollout, evaluations = self._seen
        self._show_figures(policies, rollout, evaluations)
        self._show_chart(policies, rollout, evaluations)
        self._body.clear()
        for evaluation in evaluations:
            with self._body:
                self._row(evaluation, rollout["best"])

    def _show_figures(
        self, policies: list[Json], rollout: Json, evaluations: list[dict[str, Any]]
    ) -> None:
        found = next((p["evaluation"] for p in policies if p["best"]), None)
        self._best.show(_version(rollout["best"]), _mean(found) if found else "none evaluated yet")
        how = "pinned" if rollout["pinned"] is not None else "by the rule"
        trial = rollout["trial"]
        self._offered.show(_version(rollout["offered"]), how if trial or how == "pinned" else "")
        self._trial.show(*_on_trial(trial))
        now = [e for e in evaluations if e["state"] == "running"]
        words = ", ".join(f"{e['played']} of {e['episodes']} episodes" for e in now)
        self._running.show(", ".join(f"v{e['version']}" for e in now) or NONE, words)

    def _show_chart(self, policies: list[Json], rollout: Json, evaluations: list[Json]) -> None:
        self._chart.set_visibility(bool(policies))
        self._none.set_visibility(not policies)
        dots = [[e["version"], value] for e in evaluations for value in e["returns"]]
        series = [charts.faint("episodes", dots, 0, dots=True)]
        for name, colour, chosen in (
            ("versions", 0, [p for p in policies if not p["best"]]),
            ("best", 2, [p for p in policies if p["best"]]),
        ):
            about = [(p["version"], p["evaluation"]) for p in chosen]
            bars = [[v, e["lower"], e["upper"]] for v, e in about if e["lower"] is not None]
            means = [[v, e["mean"]] for v, e in about]
            if means:
                series += charts.intervals(name, bars, means, colour)
        charts.show(self._chart, "version", series)

    def _row(self, evaluation: dict[str, Any], best: int | None) -> None:
        number_, version = evaluation["id"], evaluation["version"]
        with named(ui.element("tr"), f"evaluation-{number_}"):
            cell(str(number_), "quiet")
            with cell(), ui.element("div").classes("accepts"):
                ui.label(f"v{version}").classes("heading")
                if version == best:
                    pill("best", "good")
            with cell():
                pill(evaluation["state"], _KINDS[evaluation["state"]]).tooltip(evaluation["reason"])
            cell(f"{evaluation['played']} of {evaluation['episodes']}")
            cell(number(evaluation["mean"]))
            cell(_interval(evaluation))
            cell(", ".join(evaluation["robots"]))
            cell(clock(evaluation["created_at"], date=True))
            cell("schedule" if evaluation["scheduled"] else "hand", "quiet")
            with cell(classes="right"):
                if evaluation["state"] == "running" and self._visit.may_act:
                    cancel = button("Cancel", "close", partial(self._cancel, number_))
                    named(cancel, f"cancel-{number_}")

    async def _cancel(self, number_: int) -> None:
        await self._visit.act("POST", f"{self._path}/evaluations/{number_}/cancel")


def _version(version: int | None) -> str:
    return NONE if version is None else f"v{version}"


def _interval(found: dict[str, Any]) -> str:
    if found["lower"] is None:
        return NONE
    return f"{number(found['lower'])} to {number(found['upper'])}"


def _mean(found: dict[str, Any]) -> str:
    bounds = f" ({_interval(found)})" if found["lower"] is not None else ""
    return f"{number(found['mean'])}{bounds}"


def _on_trial(trial: dict[str, Any] | None) -> tuple[str, str]:
    """What the rule does, in a word and in a few."""
    if trial is None:
        return NONE, "the rule is off"
    if trial["candidate"] is None:
        return NONE, f"waits for a version after v{trial['stable']}"
    return f"v{trial['candidate']}", f"on {', '.join(trial['canaries'])}"
