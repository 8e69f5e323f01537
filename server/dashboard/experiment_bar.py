"""The state of an experiment, why it is so, and the buttons that change it."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from nicegui import ui

from server.dashboard.parts import (
    EXPERIMENT_KINDS,
    LEARNER_KINDS,
    asking,
    button,
    named,
    pill,
    show_pill,
    sure,
)
from server.dashboard.visit import Refused, Visit
from server.states import DELETABLE

_ICONS = {"start": "play_arrow", "pause": "pause", "resume": "play_arrow", "stop": "stop"}
_ALWAYS = ("edit", "duplicate")
_DANGER = ("restarting", "failed", "frozen")


class ExperimentBar:
    """Above everything else on the page of an experiment."""

    def __init__(self, visit: Visit, experiment: str) -> None:
        self._visit, self._experiment = visit, experiment
        self._path = f"/experiments/{quote(experiment, safe='')}"
        self._verbs: dict[str, ui.button] = {}
        with ui.element("div").classes("bar"):
            self._state = pill().props("data-mark=experiment-state")
            self._learner = pill()
            self._about = ui.label().classes("quiet")
            ui.element("div").classes("space")
            if visit.may_act:
                with ui.element("div").classes("verbs"):
                    self._buttons()
        self._trouble = ui.label().classes("trouble")

    def refresh(self) -> None:
        """Bring it up to date."""
        work = self._visit.service.experiments
        experiment, learner = work.get(self._experiment), work.learner(self._experiment)
        show_pill(self._state, experiment.state, EXPERIMENT_KINDS.get(experiment.state, "off"))
        show_pill(
            self._learner, f"learner {learner.state}", LEARNER_KINDS.get(learner.state, "off")
        )
        size = experiment.config.get("size")
        self._about.text = " · ".join(filter(None, (experiment.agent, size, experiment.notes[:80])))
        why = experiment.reason or (learner.reason if learner.state in _DANGER else "")
        self._trouble.text = why
        self._trouble.set_visibility(bool(why))
        may = {*work.allowed(experiment)} | ({"delete"} if experiment.state in DELETABLE else set())
        for verb, shown in self._verbs.items():
            shown.set_visibility(verb in may or verb in _ALWAYS)

    def _buttons(self) -> None:
        for verb, icon in _ICONS.items():
            do = partial(self._change, verb)
            self._verbs[verb] = named(button(verb.capitalize(), icon, do), f"do-{verb}")
        self._verbs["edit"] = named(button("Edit", "edit", self._edit), "do-edit")
        self._verbs["duplicate"] = button("Duplicate", "content_copy", self._duplicate)
        self._verbs["delete"] = button("Delete", "delete_outline", self._delete).props(
            "data-mark=do-delete"
        )

    async def _change(self, verb: str) -> None:
        await self._visit.act("POST", f"{self._path}/{verb}")

    def _edit(self) -> None:
        """Ask for another name and other notes."""
        experiment = self._visit.service.experiments.get(self._experiment)
        with asking("broad") as dialog:
            name = named(ui.input("name", value=experiment.name), "edit-name")
            name.props("dense outlined")
            notes = named(ui.textarea("notes", value=experiment.notes), "edit-notes")
            notes.props("dense outlined autogrow")

            async def save() -> None:
                body = {"name": name.value or "", "notes": notes.value or ""}
                if await self._visit.act("PATCH", self._path, body):
                    ui.navigate.reload()

            with ui.element("div").classes("buttons"):
                button("Cancel", "close", dialog.close)
                named(button("Save", "check", save, "solid"), "edit-save")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _duplicate(self) -> None:
        try:
            made = await self._visit.ask("POST", f"{self._path}/duplicate")
        except Refused as error:
            self._visit.complain(str(error))
            return
        ui.navigate.to(f"/experiments/{made['id']}")

    async def _delete(self) -> None:
        name = self._visit.service.experiments.get(self._experiment).name
        question = f"Delete {name!r} with its rows, policies and checkpoints, for good?"
        if await sure(question, "Delete"):
            await self._visit.act("DELETE", f"{self._path}?confirm={self._experiment}")
