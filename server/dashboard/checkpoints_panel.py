"""The checkpoints of an experiment's learner, and going back to one."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

from nicegui import ui

from server.dashboard.parts import (
    button,
    cell,
    clock,
    named,
    number,
    panel,
    pill,
    size_of,
    sure,
    table,
)
from server.dashboard.visit import Visit
from server.states import RESTORABLE

_SHOWN = 100


class CheckpointsPanel:
    """What the learner can go on from, newest first.

    Args:
        visit: the page.
        experiment: whose learner.
    """

    def __init__(self, visit: Visit, experiment: str) -> None:
        self._visit, self._experiment = visit, experiment
        self._path = f"/experiments/{quote(experiment, safe='')}/checkpoints"
        self._seen: Any = None
        with panel("Checkpoints", more="of the learner; rows and policies stay as they are"):
            self._hint = ui.label("To restore one, stop the experiment first.").classes(
                "field-hint"
            )
            self._none = ui.label("There is none yet.").classes("quiet")
            with ui.element("div").classes("scroll") as self._box:
                self._body = table("updates", "saved", "size", "", "")

    async def refresh(self) -> None:
        """Read them again. Raises Refused."""
        found = (await self._visit.get(self._path, limit=_SHOWN))["items"]
        state = self._visit.service.experiments.get(self._experiment).state
        if (found, state) == self._seen:
            return
        self._seen = found, state
        self._hint.set_visibility(bool(found) and state not in RESTORABLE and self._visit.may_act)
        self._none.set_visibility(not found)
        self._box.set_visibility(bool(found))
        self._body.clear()
        following = next((each for each in found if not each["aside"]), None)
        for each in found:
            with self._body:
                self._row(each, each is following, state in RESTORABLE)

    def _row(self, checkpoint: dict[str, Any], following: bool, may_restore: bool) -> None:
        count = checkpoint["number"]
        with named(ui.element("tr"), f"checkpoint-{count}"):
            cell(number(count), "heading")
            cell(clock(checkpoint["saved_at"], date=True))
            cell(size_of(checkpoint["nbytes"]))
            with cell(), ui.element("div").classes("accepts"):
                if following:
                    pill("next start", "good").tooltip("the next start goes on from this one")
                if checkpoint["aside"]:
                    pill("set aside", "off").tooltip("an older one was restored in its place")
                if checkpoint["kept"]:
                    pill("kept", "busy").tooltip("of a policy worth keeping")
            with cell(classes="right"):
                if self._visit.may_act:
                    restore = partial(self._restore, count)
                    shown = button("Restore", "settings_backup_restore", restore)
                    shown.set_enabled(may_restore and not following)
                    named(shown, f"restore-{count}")

    async def _restore(self, count: int) -> None:
        question = (
            f"Let the next start go on from the checkpoint of {number(count)} updates? "
            "Newer ones are set aside, not deleted."
        )
        if await sure(question, "Restore", "good"):
            await self._visit.act("POST", f"{self._path}/{count}/restore", said="restored")
            await self.refresh()
