"""The versions of an experiment's policy: what they returned, and which one robots are offered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import quote

from nicegui import ui

from server.dashboard import charts
from server.dashboard.compress import ComparisonPanel, ask_to_compress
from server.dashboard.parts import (
    NONE,
    Figure,
    asking,
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
from server.dashboard.visit import Refused, Visit
from server.feed import News

_SHOWN = 30  # in the table; the curve knows more
_DRAWN = 300
_LOOK_S = 3.0  # a learner publishes every few seconds, and episodes end


async def build(visit: Visit, experiment: str) -> None:
    """The page."""
    shown = _Policies(visit, experiment)
    try:
        await shown.load()
    except Refused as error:
        ui.label(str(error)).classes("trouble")
        return
    visit.follow(shown.refresh)


class _Policies:
    """Figures, a curve of returns by version, and the versions."""

    def __init__(self, visit: Visit, experiment: str) -> None:
        self._visit, self._experiment = visit, experiment
        self._path = f"/experiments/{quote(experiment, safe='')}"
        self._loaded_at = 0.0
        self._seen: Any = None
        with ui.element("div").classes("figures"):
            self._offered = Figure("offered to robots")
            self._newest = Figure("newest")
            self._best = Figure("best so far", "by mean return")
            self._canaries = Figure("canaries")
        if visit.may_act:
            with ui.element("div").classes("bar verbs"):
                back = button("Roll back", "undo", self._roll_back, hint="to the version before")
                self._back = back.props("data-mark=roll-back")
                self._unpin = button("Follow the newest", "update", self._follow_newest)
                self._unpin.props("data-mark=unpin")
        self._comparison = ComparisonPanel(visit, experiment)
        with panel("Return by version", more="mean, and from the lowest to the highest"):
            self._chart = charts.chart("low").props("data-mark=version-returns")
            self._none = ui.label("No episode has ended with any of them yet.").classes("quiet")
        with ui.element("section").classes("panel scroll more versions"):
            self._body = table(
                "version",
                "made",
                "updates",
                "episodes",
                "mean return",
                "from",
                "to",
                "size",
                "",
                "",
            )

    async def load(self) -> None:
        """Read the versions. Raises Refused."""
        self._loaded_at = self._visit.house.now()
        page = await self._visit.get(f"{self._path}/policies", limit=_DRAWN)
        rollout = await self._visit.get(f"{self._path}/rollout")
        await self._comparison.load()
        if (page, rollout) == self._seen:
            return
        self._seen = page, rollout
        best = _best(page["items"])
        self._show_figures(rollout, best)
        self._show_chart(page["items"])
        self._body.clear()
        for policy in page["items"][:_SHOWN]:
            with self._body:
                self._row(policy, rollout, policy is best)

    async def refresh(self, heard: list[News]) -> None:
        """Read them again when something may have changed, though not all the time."""
        if self._visit.house.now() - self._loaded_at >= _LOOK_S:
            await self.load()

    def _show_figures(self, rollout: dict[str, Any], best: dict[str, Any] | None) -> None:
        pinned, canaries = rollout["pinned"], rollout["canaries"]
        how = "pinned" if pinned is not None else "by the rule" if rollout["trial"] else "newest"
        self._offered.show(_version(rollout["offered"]), how)
        self._newest.show(_version(rollout["newest"]))
        if best:
            kind = "evaluation" if best["best"] else "returns"
            words = "without exploring" if best["best"] else "mean return"
            self._best.show(_version(best["version"]), f"{words}: {number(best[kind]['mean'])}")
        names = ", ".join(f"{robot}: v{version}" for robot, version in canaries.items())
        self._canaries.show(str(len(canaries)), names)
        if self._visit.may_act:
            self._unpin.set_enabled(pinned is not None)

    def _show_chart(self, policies: list[dict[str, Any]]) -> None:
        known = [p for p in reversed(policies) if p["returns"]]
        self._chart.set_visibility(bool(known))
        self._none.set_visibility(not known)
        low, mean, high = (
            [[p["version"], p["returns"][name]] for p in known] for name in ("low", "mean", "high")
        )
        series = [*charts.band("spread", low, high, 0), charts.line("mean return", mean, 0)]
        series[-1]["showSymbol"] = True
        charts.show(self._chart, "version", series)

    def _row(self, policy: dict[str, Any], rollout: dict[str, Any], best: bool) -> None:
        returns = policy["returns"]
        with named(ui.element("tr"), f"version-{policy['version']}"):
            cell(f"v{policy['version']}", "heading")
            cell(clock(policy["created_at"]))
            cell(number(policy["updates"]))
            cell(number(returns["episodes"]) if returns else NONE)
            for name in ("mean", "low", "high"):
                cell(number(returns[name]) if returns else NONE)
            cell(size_of(policy["nbytes"]))
            with cell(), ui.element("div").classes("accepts"):
                self._marks(policy, rollout, best)
            with cell(classes="right"):
                self._actions(policy)

    def _marks(self, policy: dict[str, Any], rollout: dict[str, Any], best: bool) -> None:
        if policy["offered"]:
            pill("pinned" if rollout["pinned"] is not None else "offered", "good")
        if best:
            pill("best", "busy")
        for robot in policy["robots"]:
            pill(f"canary: {robot}", "warn")
        if not policy["available"]:
            pill("files gone", "off")

    def _actions(self, policy: dict[str, Any]) -> None:
        if not policy["available"]:
            return
        path = f"{self._path}/policies/{policy['version']}"
        link = ui.link(target=f"/api/v1{path}/bundle.zip").props("download")
        with link.tooltip("download"):
            ui.icon("download", size="20px").classes("quiet")
        if self._visit.may_act:
            pin = self._asked("POST", f"{path}/pin")
            shown = button("Pin", "push_pin", pin, hint="offer this and no later one")
            named(shown, f"pin-{policy['version']}")
            self._dialogs(policy["version"])

    def _dialogs(self, version: int) -> None:
        """What is asked about before it is done."""
        ask = partial(self._promote, version)
        shown = button("Promote", "publish", ask, hint="pin for all robots, and end canaries")
        named(shown, f"promote-{version}")
        one = partial(self._canary_menu, version)
        named(button("Canary", "egg_alt", one, hint="let one robot try it"), f"canary-{version}")
        small = partial(ask_to_compress, self._visit, self._experiment, version)
        shown = button("Compress", "compress", small, hint="have a smaller network learn to do it")
        named(shown, f"compress-{version}")

    def _canary_menu(self, version: int) -> None:
        """Ask which robot is to try a version."""
        with asking() as dialog:
            ui.label(f"Which robot is to try version {version}?").classes("heading")
            self._robots_to_try(version, dialog.close)
        dialog.on("hide", dialog.delete)
        dialog.open()

    def _robots_to_try(self, version: int, close: Callable[[], object]) -> None:
        async def choose(ask: Callable[[], Awaitable[None]]) -> None:
            close()
            await ask()

        here = [r for r in self._visit.house.robots() if r.experiment == self._experiment]
        pins = self._visit.service.experiments.rollout.pins(self._experiment)
        for robot in here:
            path = f"{self._path}/rollout/canaries/{quote(robot.name, safe='')}"
            try_it = self._asked("PUT", path, {"version": version})
            shown = button(robot.name, "smart_toy", partial(choose, try_it))
            named(shown, f"try-{robot.name}")
            if robot.name in pins:
                end = self._asked("DELETE", path)
                text = f"{robot.name}: end its trial"
                named(button(text, "close", partial(choose, end)), f"end-{robot.name}")
        if not here:
            ui.label("No robot is here.").classes("quiet")

    async def _promote(self, version: int) -> None:
        if await sure(
            f"Offer version {version} to all robots of this experiment?", "Promote", "good"
        ):
            await self._asked("POST", f"{self._path}/policies/{version}/promote")()

    async def _roll_back(self) -> None:
        await self._asked("POST", f"{self._path}/rollout/back")()

    async def _follow_newest(self) -> None:
        await self._asked("DELETE", f"{self._path}/rollout/pin")()

    def _asked(self, method: str, path: str, body: Any = None) -> Callable[[], Awaitable[None]]:
        async def ask() -> None:
            if await self._visit.act(method, path, body):
                await self.load()

        return ask


def _best(policies: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The one that evaluations say is best; without any, that of the highest mean return."""
    evaluated = next((p for p in policies if p["best"]), None)
    returned = (p for p in policies if p["returns"])
    return evaluated or max(returned, key=lambda p: float(p["returns"]["mean"]), default=None)


def _version(version: int | None) -> str:
    return NONE if version is None else f"v{version}"
