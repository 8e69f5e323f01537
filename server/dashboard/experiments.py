"""All experiments, the newest first, each with its curve."""

from __future__ import annotations

from nicegui import ui

from server.api.metrics import EPISODE_RETURN
from server.dashboard.parts import (
    EXPERIMENT_KINDS,
    NONE,
    button,
    cell,
    drawing,
    duration,
    number,
    pill,
    show_pill,
    small_curve,
    table,
)
from server.dashboard.series import Curves
from server.dashboard.visit import Refused, Visit
from server.feed import News
from server.storage import Experiment

_COLUMNS = ("experiment", "state", "agent", "return", "", "rows", "updates", "policy", "age")
_MEAN_OF = 10


async def build(visit: Visit) -> None:
    """The page."""
    if visit.may_act:
        with ui.element("div").classes("bar"):
            button("New experiment", "add", lambda: ui.navigate.to("/new"), "solid")
    shown = _Table(visit)
    await shown.refresh([])
    visit.follow(shown.refresh)


class _Table:
    """A row per experiment, that leads to its page."""

    def __init__(self, visit: Visit) -> None:
        self._visit, self._curves = visit, Curves(visit)
        self._rows: dict[str, _Row] = {}
        self._none = ui.label("There is no experiment yet.").classes("empty")
        with ui.element("section").classes("panel scroll") as self._box:
            self._body = table(*_COLUMNS)

    async def refresh(self, heard: list[News]) -> None:
        """Bring it up to date."""
        await self._curves.hear(heard)
        found = {e.id: e for e in self._visit.service.experiments.all()}
        for name in [name for name in self._rows if name not in found]:
            self._rows.pop(name).row.delete()
        for name, experiment in found.items():
            if name not in self._rows:
                await self._add(experiment)
            self._rows[name].show(experiment, self._visit, self._curves)
        self._none.set_visibility(not found)
        self._box.set_visibility(bool(found))

    async def _add(self, experiment: Experiment) -> None:
        with self._body:
            self._rows[experiment.id] = row = _Row(experiment)
        row.row.move(self._body, target_index=0)
        try:
            await self._curves.want(experiment.id, [EPISODE_RETURN])
        except Refused:
            return  # deleted meanwhile


class _Row:
    """One experiment."""

    def __init__(self, experiment: Experiment) -> None:
        target = f"/experiments/{experiment.id}"
        with ui.element("tr").classes("link") as self.row:
            self.row.on("click", lambda: ui.navigate.to(target))
            with cell():
                self._name = ui.link(experiment.name, target).classes("heading")
                ui.label(experiment.id).classes("quiet")  # several may have one name
            with cell():
                self._state = pill()
            cell(experiment.agent)
            with cell():
                self._return = ui.label()
            with cell().classes("curve"):
                self._curve = drawing()
            self._figures = [_figure() for _ in range(4)]

    def show(self, experiment: Experiment, visit: Visit, curves: Curves) -> None:
        """Bring it up to date."""
        self._name.text = experiment.name
        show_pill(self._state, experiment.state, EXPERIMENT_KINDS.get(experiment.state, "off"))
        returns = curves.of(experiment.id, EPISODE_RETURN)
        self._return.text = number(returns.mean(_MEAN_OF))
        self._curve.content = small_curve([y for _, y in returns.over("rows", _MEAN_OF)])
        work = visit.service.experiments
        version = work.policy_version(experiment.id)
        texts = (
            number(experiment.rows),
            number(work.learner(experiment.id).updates),
            NONE if version is None else f"v{version}",
            duration(visit.house.now() - experiment.created_at),
        )
        for label, text in zip(self._figures, texts, strict=True):
            label.text = text


def _figure() -> ui.label:
    with cell():
        return ui.label()
