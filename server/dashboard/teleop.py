"""Driving a robot from the browser: its camera, a joystick and sliders or buttons, and who drives.

What hands do goes from the browser to REST's socket, by `teleop.js`. Were it to come by way of
this side of the page, that would go on saying it while nobody is there any more.
"""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any
from urllib.parse import quote

from gymnasium import spaces
from nicegui import ui

from robot_client.schema import space_from_json
from server.dashboard.orders import tell
from server.dashboard.parts import button, named, panel, pill, show_pill, sure
from server.dashboard.visit import Refused, Visit
from server.feed import News

SLIDERS = 24  # numbers of an action that a person may be asked to look after
_ARROWS = ("up", "down", "left", "right")
_ABOUT = (
    "Hands off the controls, the robot holds. Keys work while this window has the focus; Escape "
    "hands back. The left stick of a gamepad drives actions 0 and 1, the right one 2 and 3."
)


async def build(visit: Visit, robot: str) -> None:
    """The page."""
    path = f"/robots/{quote(robot, safe='')}"
    try:
        about = await visit.get(f"{path}/teleop")
    except Refused as error:
        ui.label(str(error)).classes("trouble")
        return
    ui.add_head_html('<script src="/teleop.js" defer></script>')
    with panel(f"Drive {robot}", "drive") as box:
        box.props["data-drive"] = f"/api/v1{path}"
        box.props["data-me"] = visit.caller.name
        box.props["data-keys"] = json.dumps([*about["keys"], *_ARROWS])
        _state(visit, robot, path)
        if visit.may_act:
            _orders(visit, robot)
            said = named(ui.element("div").classes("said"), "said")
            said.props("id=drive-said role=status aria-live=polite")
        with ui.element("div").classes("seat"):
            if visit.service.fleet.camera(robot) is not None:
                with ui.element("div").classes("camera"):
                    ui.element("img").props["data-live"] = f"/api/v1{path}/camera.png"
            if visit.may_act:
                with ui.element("div").classes("stack-y controls"):
                    _controls(about)
                    ui.label(_ABOUT).classes("field-hint")


def _state(visit: Visit, robot: str, path: str) -> None:
    """Who has the lease, who drives, and where the robot stands, twice a second."""
    with ui.element("div").classes("strip"):
        driver, safety = named(pill(), "driver"), named(pill(), "safety")
        lease, reason = named(ui.label(), "lease"), ui.label().classes("quiet reason")

    async def refresh(_news: list[News]) -> None:
        try:
            found = await visit.get(f"{path}/teleop")
        except Refused:  # removed since
            return
        who = found["driver"]
        show_pill(driver, f"{who} drives" if who else "its policy drives", "busy" if who else "off")
        kind = {"fresh": "good", "cached": "warn", "hold": "warn"}.get(found["safety"], "bad")
        show_pill(safety, found["safety"] or "out of reach", kind)
        holder = found["holder"]
        lease.text = f"lent to {holder}" if holder else "lent to nobody"
        reason.text = found["reason"] or ""

    visit.follow(refresh)


def _orders(visit: Visit, robot: str) -> None:
    async def release() -> None:
        if await sure(f"Release {robot}? It may move at once.", "Release"):
            await tell(visit, robot, "release")

    with ui.element("div").classes("bar verbs"):
        for mark, text, icon, handler, classes in (
            ("take-over", "Take over", "sports_esports", "driving.begin", "solid"),
            ("hand-back", "Hand back", "smart_toy", "driving.end", ""),
        ):
            made = ui.button(text, icon=icon, color=None).props("flat dense no-caps")
            named(made.classes(classes), mark).on("click", js_handler=f"() => {handler}()")
        named(button("E-STOP", "front_hand", partial(tell, visit, robot, "stop"), "stop"), "stop")
        named(button("Release", "lock_open", release, hint="after an E-STOP"), "release")
        resume = partial(tell, visit, robot, "resume")
        named(button("Resume", "play_arrow", resume, hint="after it has stopped"), "resume")


def _controls(about: dict[str, Any]) -> None:
    """A pad and a slider per number of the action, or a button per choice."""
    space = space_from_json(about["action_space"])
    keys = {what: key for key, what in reversed(about["keys"].items())}
    if isinstance(space, spaces.Discrete):
        _buttons(int(space.n), keys)
    else:
        _sliders(space, keys)


def _buttons(choices: int, keys: dict[str, str]) -> None:
    with ui.element("div").classes("choices"):
        for number in range(min(SLIDERS, choices)):
            key = keys.get(f"choice {number}", f"button{number}")
            made = ui.element("button").props(f'data-key="{key}" type=button')
            with named(made, f"choice-{number}"):
                ui.label(str(number))
                ui.label(f"key {key}").classes("quiet")
    _beyond(choices)


def _sliders(space: spaces.Space[Any], keys: dict[str, str]) -> None:
    numbers = math.prod(space.shape or ())
    if numbers > 1:
        with named(ui.element("div").classes("pad"), "pad"):
            ui.element("div").classes("knob")
    for number in range(min(SLIDERS, numbers)):
        down, up = (keys.get(f"{sign} action {number}", "") for sign in "-+")
        with ui.element("div").classes("row"):
            ui.label(f"action {number}").classes("name")
            ui.label(down).classes("kbd")
            ui.html(_slider(number), sanitize=False).classes("slider")
            ui.label(up).classes("kbd")
    _beyond(numbers)


def _slider(number: int) -> str:
    """As text: of an element the browser's side sets the value anew at each change of the page."""
    about = f'data-axis="{number}" data-mark="axis-{number}" aria-label="action {number}"'
    return f'<input type="range" min="-1" max="1" step="0.01" value="0" {about}>'


def _beyond(count: int) -> None:
    if count > SLIDERS:
        ui.label(f"and {count - SLIDERS} more, which stay at rest").classes("field-hint")
