"""The fleet: a card per robot, in an order that stays, so that no button moves under a finger."""

from __future__ import annotations

from nicegui import ui

from server.dashboard.health import health_of
from server.dashboard.parts import number, pill, show_pill
from server.dashboard.robot_card import RobotCard
from server.dashboard.visit import Visit
from server.feed import News

_ORDER = ("bad", "warn", "busy", "good", "off")
_WORDS = {
    "bad": "stopped",
    "warn": "in trouble",
    "busy": "waiting",
    "good": "well",
    "off": "offline",
}


async def build(visit: Visit) -> None:
    """The page."""
    with ui.element("div").classes("strip"):
        counts = {kind: pill(kind=kind) for kind in _ORDER}
        silent = pill(kind="bad").props("data-mark=silent")
        figures = ui.label().classes("quiet")
    empty = ui.element("div").classes("empty")
    with empty:
        ui.icon("precision_manufacturing")
        ui.label("No robot has said hello yet.").classes("heading")
        ui.label("Start one:  dreamfleet-robot run NAME --server " + visit.service.settings.gateway)
    grid = ui.element("div").classes("robots")
    cards: dict[str, RobotCard] = {}

    def refresh(_news: list[News]) -> None:
        robots = visit.house.robots()
        for name in cards.keys() - {robot.name for robot in robots}:
            cards.pop(name).remove()
        for robot in robots:
            if robot.name not in cards:
                with grid:
                    cards[robot.name] = RobotCard(visit, robot)
            cards[robot.name].show(robot, visit.house.traces[robot.name])
        missed = sum(robot.state == "silent" for robot in robots)
        show_pill(silent, f"{missed} silent", "bad")
        silent.set_visibility(missed > 0)
        kinds = [health_of(robot).kind for robot in robots if robot.state != "silent"]
        for kind, label in counts.items():
            show_pill(label, f"{kinds.count(kind)} {_WORDS[kind]}", kind)
            label.set_visibility(kind in kinds)
        rate = sum(visit.house.traces[robot.name].rows_per_s for robot in robots if robot.connected)
        waiting = sum(robot.backlog_rows or 0 for robot in robots if robot.connected)
        figures.text = f"{number(rate)} rows/s arrive, {number(waiting)} rows wait for upload"
        empty.set_visibility(not robots)
        figures.set_visibility(bool(robots))

    refresh([])
    visit.follow(refresh)
