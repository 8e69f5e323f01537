"""One robot as the fleet page shows it: how it is, what it sees, and what it can be told."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from nicegui import ui

from server.api.schemas import RobotView
from server.dashboard.health import health_of, is_slow
from server.dashboard.house import Trace
from server.dashboard.orders import tell
from server.dashboard.parts import (
    NONE,
    button,
    colour,
    drawing,
    duration,
    named,
    number,
    pill,
    show_pill,
    small_curve,
    sure,
)
from server.dashboard.visit import Visit

_ANY = "any that is free"
_VERBS = (
    ("pause", "Pause", "pause", "ends the episode and stands still"),
    ("resume", "Resume", "play_arrow", "goes on with a new episode"),
    ("reset", "Reset", "restart_alt", "ends the episode and goes back to the start"),
    ("end_episode", "End", "skip_next", "ends the episode and begins another"),
    ("success", "Success", "check", "ends the episode as one that has succeeded"),
    ("failure", "Failure", "close", "ends the episode as one that has failed"),
    ("discard", "Discard", "delete_outline", "ends the episode, which is not learned from"),
)


class RobotCard:
    """A card; `show` brings it up to date."""

    def __init__(self, visit: Visit, robot: RobotView) -> None:
        self._visit, self._name = visit, robot.name
        self._path = f"/robots/{quote(robot.name, safe='')}"
        with ui.element("article").classes("robot") as self._box:
            with ui.element("div").classes("title"):
                ui.label(robot.name).classes("heading")
                self._task = ui.label().classes("quiet")
                ui.element("div").classes("space")
                if visit.may_act:
                    self._drive = ui.link("Drive", f"{self._path}/drive")
                    named(self._drive.classes("quiet drive-link"), f"drive-{robot.name}")
                self._state = named(pill(), f"state-{robot.name}")
            self._why = ui.label().classes("why")
            with ui.element("div").classes("body"):
                self._camera()
                self._figures()
            self._place = ui.label().classes("quiet")
            if visit.may_act:
                self._buttons(robot)

    def remove(self) -> None:
        """The robot is no longer known."""
        self._box.delete()

    def show(self, robot: RobotView, trace: Trace) -> None:
        """How the robot is now, and has been for the last two minutes."""
        health = health_of(robot)
        show_pill(self._state, health.word, health.kind)
        colour(self._box, health.kind)
        self._why.text = health.why
        self._why.set_visibility(bool(health.why) and health.kind in ("bad", "warn"))
        self._task.text = str(robot.task.get("name") or "")
        self._show_camera(robot)
        self._show_figures(robot, trace)
        self._show_place(robot)
        if self._visit.may_act:
            self._show_buttons(robot)

    def _camera(self) -> None:
        with ui.element("div").classes("camera"):
            self._picture = ui.element("img")
            self._picture.props["data-live"] = f"/api/v1{self._path}/camera.png"
            self._none = ui.icon("videocam_off")

    def _figures(self) -> None:
        with ui.element("dl"):
            self._hz, self._hz_curve = self._row("loop", curve=True)
            self._missed, _ = self._row("late ticks")
            self._policy, _ = self._row("policy")
            self._backlog, _ = self._row("to upload")
            self._surprise, self._surprise_curve = self._row("surprise", curve=True)
            self._episode, _ = self._row("episode")

    def _row(self, name: str, curve: bool = False) -> tuple[ui.label, ui.html | None]:
        with ui.element("div").classes("row"):
            ui.label(name).classes("name")
            drawn = drawing() if curve else None
            value = ui.label().classes("value")
        return value, drawn

    def _show_camera(self, robot: RobotView) -> None:
        sees = robot.has_camera and self._visit.service.fleet.camera(robot.name) is not None
        self._picture.set_visibility(sees)
        self._none.set_visibility(not sees)

    def _show_figures(self, robot: RobotView, trace: Trace) -> None:
        self._hz.text = rate_of(robot, trace)
        colour(self._hz, "warn" if is_slow(robot) else "")
        self._missed.text = number(robot.missed_ticks)
        self._policy.text = _policy(robot)
        self._backlog.text = f"{number(robot.backlog_rows)} rows"
        known = robot.surprise is not None and robot.surprise >= 0
        self._surprise.text = f"{number(robot.surprise)} nats" if known else NONE
        self._episode.text = number(robot.episode)
        for drawn, values, low in (
            (self._hz_curve, trace.loop_hz, 0.0),
            (self._surprise_curve, trace.surprise, 0.0),
        ):
            if drawn is not None:
                drawn.content = small_curve(values, low)

    def _show_place(self, robot: RobotView) -> None:
        names = {e.id: e.name for e in self._visit.service.experiments.all()}
        where = names.get(robot.experiment or "", "no experiment")
        seen = self._visit.house.now() - robot.seen_at
        self._place.text = (
            where if robot.connected else f"{where} · last heard {duration(seen)} ago"
        )

    def _buttons(self, robot: RobotView) -> None:
        self._orders = []
        with ui.element("div").classes("orders"):
            for verb, text, icon, hint in _VERBS:
                shown = button(text, icon, partial(self._tell, verb), "order", hint)
                self._orders.append(named(shown.props("stack"), f"{verb}-{robot.name}"))
        with ui.element("div").classes("last"):
            self._assigned = ui.select({}, label="belongs to", on_change=self._assign)
            self._assigned.props("dense outlined options-dense").classes("assign")
            self._stop = button("E-STOP", "front_hand", partial(self._tell, "stop"), "stop")
            self._release = button("Release", "lock_open", self._let_go, "release")
            named(self._stop, f"stop-{robot.name}")
            named(self._release, f"release-{robot.name}")
            self._remove = button("Remove", "delete_outline", self._forget, "order")
            named(self._remove, f"remove-{robot.name}")

    def _show_buttons(self, robot: RobotView) -> None:
        stopped = robot.safety == "estop" and robot.connected
        self._release.set_visibility(stopped)
        self._stop.set_visibility(not stopped)
        self._drive.set_visibility(robot.connected)
        self._remove.set_visibility(robot.state in ("silent", "offline"))
        for order in self._orders:  # but the emergency stop is never taken from anybody
            order.set_enabled(robot.connected)
        choices = {"": _ANY} | {e.id: e.name for e in self._visit.service.experiments.all()}
        if self._assigned.options != choices:
            self._assigned.set_options(choices, value=robot.assigned or "")
        elif self._assigned.value != (robot.assigned or ""):
            self._assigned.set_value(robot.assigned or "")

    async def _tell(self, verb: str) -> None:
        await tell(self._visit, self._name, verb)

    async def _let_go(self) -> None:
        if await sure(f"Release {self._name}? It may move at once.", "Release"):
            await self._tell("release")

    async def _forget(self) -> None:
        question = f"Remove {self._name} from the list? Its rows stay; hello brings it back."
        if await sure(question, "Remove"):
            await self._visit.act("DELETE", self._path)

    async def _assign(self) -> None:
        robot = self._visit.service.experiments.roster.get(self._name)
        chosen = self._assigned.value or None
        if chosen != robot.assigned:
            await self._visit.act("PUT", f"{self._path}/experiment", {"experiment": chosen})


def _policy(robot: RobotView) -> str:
    if robot.policy_version is None or robot.policy_version < 0:
        return "none yet"
    behind = (robot.policy_offered or 0) - robot.policy_version
    late = f" ({behind} behind)" if behind > 0 else ""
    return f"v{robot.policy_version}{late} · {duration(robot.policy_age_s)}"


def rate_of(robot: RobotView, trace: Trace) -> str:
    """How fast a robot's loop turns by its own clock, and how fast that runs."""
    times = trace.times_real(robot)
    told = NONE if robot.loop_hz is None else number(robot.loop_hz)
    faster = "" if times is None else f" \N{MULTIPLICATION SIGN} {times:.0f}"
    return f"{told} / {robot.control_hz:g} Hz{faster}"
