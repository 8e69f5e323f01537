"""Driving a robot from the browser: its camera, a joystick and sliders or buttons, and who drives.

What hands do goes from the browser to REST's socket, by `teleop.js`. Were it to come by way of
this side of the page, that would go on saying it while nobody is there any more.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any
from urllib.parse import quote

from gymnasium import spaces
from nicegui import ui

from robot_client.schema import space_from_json
from server.dashboard.parts import button, named, panel, pill, show_pill
from server.dashboard.visit import Refused, Visit
from server.feed import News

SLIDERS = 24  # numbers of an action that a person may be asked to look after


async def build(visit: Visit, robot: str) -> None:
    """The page."""
    path = f"/robots/{quote(robot, safe='')}"
    try:
        about = await visit.get(f"{path}/teleop")
    except Refused as error:
        ui.label(str(error)).classes("empty")
        return
    ui.add_head_html('<script src="/teleop.js" defer></script>')
    with panel(f"Drive {robot}", "drive") as box:
        box.props["data-drive"] = f"/api/v1{path}"
        if visit.service.fleet.camera(robot) is not None:
            with ui.element("div").classes("camera"):
                ui.element("img").props["data-live"] = f"/api/v1{path}/camera.png"
        _state(visit, robot, path)
        if visit.may_act:
            _orders(visit, path)
            _controls(about)


def _state(visit: Visit, robot: str, path: str) -> None:
    """Who has the lease, who drives, and where the robot stands, twice a second."""
    with ui.element("div").classes("strip"):
        driver, safety = named(pill(), "driver"), named(pill(), "safety")
        lease, reason = named(ui.label(), "lease"), ui.label().classes("quiet")

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


def _orders(visit: Visit, path: str) -> None:
    async def tell(verb: str) -> None:
        await visit.act("POST", f"{path}/{verb}")

    with ui.element("div").classes("orders"):
        for mark, text, icon, handler in (
            ("take-over", "Take over", "sports_esports", "driving.begin"),
            ("hand-back", "Hand back", "smart_toy", "driving.end"),
        ):
            made = ui.button(text, icon=icon, color=None).props("flat dense no-caps")
            named(made, mark).on("click", js_handler=f"() => {handler}()")
        named(button("E-STOP", "front_hand", partial(tell, "stop"), "stop"), "stop")
        named(button("Release", "lock_open", partial(tell, "release"), "release"), "release")
        named(button("Resume", "play_arrow", partial(tell, "resume")), "resume")
    ui.label("Hands off the controls, the robot holds.").classes("quiet")
    named(ui.element("div").classes("quiet"), "said").props("id=drive-said")


def _controls(about: dict[str, Any]) -> None:
    """A pad and a slider per number of the action, or a button per choice."""
    space = space_from_json(about["action_space"])
    keys = {what: key for key, what in reversed(about["keys"].items())}
    if isinstance(space, spaces.Discrete):
        with ui.element("div").classes("orders"):
            for number in range(min(SLIDERS, int(space.n))):
                key = keys.get(f"choice {number}", f"button{number}")
                made = ui.element("button").props(f'data-key="{key}" type=button')
                with named(made, f"choice-{number}"):
                    ui.label(f"{number}  ({key})")
        return
    numbers = math.prod(space.shape or ())
    if numbers > 1:
        with named(ui.element("div").classes("pad"), "pad"):
            ui.element("div").classes("knob")
    for number in range(min(SLIDERS, numbers)):
        with ui.element("div").classes("row"):
            up, down = (keys.get(f"{sign} action {number}", "") for sign in "+-")
            ui.label(f"action {number}  {down} / {up}").classes("name")
            slider = ui.element("input").props("type=range min=-1 max=1 step=0.01 value=0")
            named(slider, f"axis-{number}").props(f'data-axis="{number}"')
