"""One experiment: its state and what can be done to it, its curves, its learner and its dreams."""

from __future__ import annotations

from urllib.parse import quote

from nicegui import ui

from server.api.metrics import EPISODE_RETURN
from server.dashboard.curve_panel import CurvePanel
from server.dashboard.dreams_panel import DreamsPanel
from server.dashboard.events_panel import EventsPanel
from server.dashboard.experiment_bar import ExperimentBar
from server.dashboard.health import health_of
from server.dashboard.learner_panel import NAMES, RATIO, SPEED, THROTTLE, WAIT, LearnerPanel
from server.dashboard.parts import NONE, Figure, duration, number, panel, pill, show_pill
from server.dashboard.robot_card import rate_of
from server.dashboard.series import Curves
from server.dashboard.visit import Visit
from server.errors import NotFound
from server.feed import News
from server.waits import waits_for

_MEAN_OF = 10  # episodes
_RATE_S = 5.0  # over which rows per second are counted


async def build(visit: Visit, experiment: str) -> None:
    """The page."""
    try:
        visit.service.experiments.get(experiment)
    except NotFound as error:
        ui.label(str(error)).classes("trouble")
        return
    await _Shown(visit, experiment).begin()


class _Shown:
    """The page of an experiment that is there."""

    def __init__(self, visit: Visit, experiment: str) -> None:
        self._visit, self._experiment = visit, experiment
        self._curves = Curves(visit)
        self._bar = ExperimentBar(visit, experiment)
        self._numbers = _Numbers(visit, self._curves, experiment)
        with ui.element("div").classes("two"):
            with ui.element("div").classes("stack-y"):
                self._curve = CurvePanel(visit, self._curves, experiment)
                self._dreams = DreamsPanel(visit, experiment)
            with ui.element("div").classes("stack-y"):
                self._robots = _Robots(visit, experiment)
                self._learner = LearnerPanel(visit, self._curves, experiment)
                self._events = EventsPanel(visit, experiment)

    async def begin(self) -> None:
        """Fill it, and keep it up to date."""
        await self._curves.want(self._experiment, [EPISODE_RETURN, *NAMES])
        await self._events.load()
        await self._dreams.load()
        await self._refresh([])
        self._visit.follow(self._refresh)

    async def _refresh(self, heard: list[News]) -> None:
        try:
            self._visit.service.experiments.get(self._experiment)
        except NotFound:
            ui.navigate.to("/experiments")
            return
        self._bar.refresh()
        await self._curve.refresh(heard)
        self._numbers.refresh()
        self._learner.refresh()
        self._robots.refresh()
        self._dreams.refresh(heard)
        self._events.refresh(heard)


class _Numbers:
    """The figures above the curves."""

    def __init__(self, visit: Visit, curves: Curves, experiment: str) -> None:
        self._visit, self._curves, self._experiment = visit, curves, experiment
        self._counted: list[tuple[float, int]] = []  # times and rows, the last _RATE_S
        with ui.element("div").classes("figures"):
            self._return = Figure("return", f"mean of the last {_MEAN_OF}")
            self._rows = Figure("rows stored")
            self._updates = Figure("updates")
            self._ratio = Figure("train ratio")
            self._wait = Figure("learner waits")
            self._policy = Figure("policy")
        self._rows.box.props("data-mark=rows")

    def refresh(self) -> None:
        """Bring them up to date."""
        work = self._visit.service.experiments
        experiment, learner = work.get(self._experiment), work.learner(self._experiment)
        latest = work.latest_metrics(self._experiment)
        returns = self._curves.of(self._experiment, EPISODE_RETURN)
        last = f"mean of the last {min(_MEAN_OF, len(returns.points)) or _MEAN_OF}"
        self._return.show(number(returns.mean(_MEAN_OF)), f"{last} of {len(returns.points)}")
        self._rows.show(number(experiment.rows), f"{number(self._rate(experiment.rows))} rows/s")
        at_work, waits = learner.state in ("running", "frozen"), waits_for(experiment, learner)
        now = latest if at_work and not waits else {}  # what was once says nothing of now
        speed = f"{number(now.get(SPEED))} updates/s" if now else "not learning now"
        self._updates.show(number(learner.updates), waits or speed)
        asked = experiment.settings["train_ratio"]
        self._ratio.show(number(latest.get(RATIO)), f"asked for {number(asked)}")
        self._wait.show(_share(now.get(WAIT)), f"throttled {_share(now.get(THROTTLE))}")
        offered, newest = (
            work.rollout.offered(self._experiment),
            work.policy_version(self._experiment),
        )
        age = work.rollout.age(self._experiment, offered) if offered is not None else None
        pinned = "" if offered == newest else f", newest v{newest}"
        about = f"{duration(age)} old{pinned}" if offered is not None else "none yet"
        self._policy.show(NONE if offered is None else f"v{offered}", about)

    def _rate(self, rows: int) -> float | None:
        now = self._visit.house.now()
        kept = [(time, count) for time, count in self._counted if now - time < _RATE_S]
        self._counted = [*kept, (now, rows)]
        began, before = self._counted[0]
        return (rows - before) / (now - began) if now - began > 1 else None


class _Robots:
    """Which robots learn here."""

    def __init__(self, visit: Visit, experiment: str) -> None:
        self._visit, self._experiment = visit, experiment
        self._rows: dict[str, tuple[ui.element, ui.label, ui.label]] = {}
        with panel("Robots"):
            self._none = ui.label("None is here yet.").classes("quiet")
            self._list = ui.element("div").classes("stack-y")

    def refresh(self) -> None:
        """Bring it up to date."""
        here = [r for r in self._visit.house.robots() if r.experiment == self._experiment]
        for robot in here:
            if robot.name not in self._rows:
                self._rows[robot.name] = self._row(robot.name)
            row, state, rate = self._rows[robot.name]
            health = health_of(robot)
            show_pill(state, health.word, health.kind)
            rate.text = rate_of(robot, self._visit.house.traces[robot.name])
        names = {robot.name for robot in here}
        for name, (row, _, _) in self._rows.items():
            row.set_visibility(name in names)
        self._none.set_visibility(not here)

    def _row(self, name: str) -> tuple[ui.element, ui.label, ui.label]:
        with self._list, ui.element("div").classes("line") as row:
            ui.label(name).classes("heading")
            ui.element("div").classes("space")
            rate = ui.label().classes("quiet")
            state = pill()
        return row, state, rate


def _share(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.0f} %"


def path_of(experiment: str) -> str:
    """Where REST has an experiment."""
    return f"/experiments/{quote(experiment, safe='')}"
