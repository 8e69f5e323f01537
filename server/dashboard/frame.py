"""What stands around every page: its name, the navigation, and the button that stops all robots."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote

from nicegui import ui

from server.dashboard import PAGES, Page
from server.dashboard.health import just_slow, needs_help
from server.dashboard.parts import button, clock, colour
from server.dashboard.visit import Refused, Visit
from server.feed import News

THEME_COOKIE = "dreamfleet_theme"
_THEMES = {"dark": True, "light": False}
_NEXT = {None: True, True: False, False: None}
_ICONS = {None: "brightness_auto", True: "dark_mode", False: "light_mode"}


@contextmanager
def frame(visit: Visit, page: Page, names: Mapping[str, str]) -> Iterator[None]:
    """The page stands where the block is."""
    ui.add_head_html('<link rel="stylesheet" href="/style.css">')
    ui.add_head_html('<script src="/page.js" defer></script>')
    with ui.element("header").classes("top"):
        ui.link("Dreamfleet", "/").classes("brand")
        with ui.element("nav"):
            for other in PAGES:
                if other.place == "main":
                    _tab(other, other.path, other is page or _holds(other, page))
        _summary(visit)
        ui.element("div").classes("space")
        _theme(visit)
        _who(visit)
        if visit.may_act:
            _stop_all(visit)
    with ui.element("div").classes("content"):
        if page.place == "experiment":
            _experiment_tabs(visit, page, names["experiment"])
        elif page.place == "robot":
            _crumbs(page, ("Fleet", "/"), names["robot"], names["robot"])
        yield


def _holds(tab: Page, page: Page) -> bool:
    return tab.path == {"experiment": "/experiments", "robot": "/"}.get(page.place)


def _tab(page: Page, target: str, current: bool) -> None:
    with ui.link(target=target).classes("tab current" if current else "tab"):
        ui.icon(page.icon)
        ui.label(page.title)


def _experiment_tabs(visit: Visit, page: Page, experiment: str) -> None:
    known = {e.id: e.name for e in visit.service.experiments.all()}
    _crumbs(page, ("Experiments", "/experiments"), known.get(experiment, experiment), experiment)


def _crumbs(page: Page, above: tuple[str, str], title: str, name: str) -> None:
    """Where the page stands, and the other pages of the same experiment or robot."""
    with ui.element("nav").classes("sub"):
        ui.link(*above).classes("quiet")
        ui.label("/").classes("quiet")
        ui.label(title).classes("heading")
        for other in PAGES:
            if other.place == page.place:
                target = other.path.replace(f"{{{page.place}}}", quote(name, safe=""))
                _tab(other, target, other is page)


def _summary(visit: Visit) -> None:
    """How many robots there are, and who needs somebody, on every page."""
    with ui.link(target="/").classes("summary"):
        label = ui.label().props("data-mark=fleet-summary")
    time = ui.label().classes("quiet clock").props("id=server-time")

    def refresh(_news: list[News]) -> None:
        time.text = clock(visit.house.now())
        robots = visit.house.robots()
        troubled = [robot.name for robot in robots if needs_help(robot)]
        slow = [robot.name for robot in robots if just_slow(robot)]
        connected = sum(robot.connected for robot in robots)
        if troubled or slow:
            label.text = f"{'needs help' if troubled else 'slow'}: {_few(troubled or slow)}"
        elif robots:
            label.text = f"{connected} robot{'s' * (connected != 1)}, all well"
        else:
            label.text = "no robot yet"
        colour(label, "bad" if troubled else "warn" if slow else "good" if robots else "off")

    refresh([])
    visit.follow(refresh)


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _theme(visit: Visit) -> None:
    mode = ui.dark_mode(_THEMES.get(visit.cookies.get(THEME_COOKIE, "")))
    toggle = ui.button(icon=_ICONS[mode.value], color=None).props("flat round dense")
    toggle.tooltip("dark, light, or as the system is")

    def change() -> None:
        mode.value = _NEXT[mode.value]
        toggle.props(f"icon={_ICONS[mode.value]}")
        name = next((name for name, dark in _THEMES.items() if dark is mode.value), "")
        ui.run_javascript(
            f'document.cookie = "{THEME_COOKIE}={name}; path=/; max-age=31536000; samesite=strict"'
        )

    toggle.on_click(change)


def _who(visit: Visit) -> None:
    if visit.caller.name == "loopback":
        return
    account = (
        ui.button(icon="account_circle", color=None)
        .props("flat round dense")
        .props("data-mark=account")
    )
    with account, ui.menu(), ui.element("div").classes("account"):
        ui.label(visit.caller.name).classes("heading")
        ui.label(visit.caller.role).classes("quiet")
        out = ui.button("Sign out", color=None).props("flat dense no-caps")
        out.on("click", js_handler="signOut").props("data-mark=sign-out")


def _stop_all(visit: Visit) -> None:
    async def stop() -> None:
        names = [robot.name for robot in visit.house.service.experiments.roster.all()]
        connected = {session.robot for session in visit.service.fleet.sessions()}
        asked = [name for name in names if name in connected]
        answers = await asyncio.gather(*(_stop(visit, name) for name in asked))
        failed = [text for text in answers if text]
        for text in failed:
            visit.complain(text)
        away = len(names) - len(asked)
        visit.say(
            f"told {len(asked) - len(failed)} robots to stop"
            + (f"; {away} are out of reach" if away else "")
        )

    button("STOP ALL", "front_hand", stop, "stop-all", "emergency stop of every robot").props(
        "data-mark=stop-all"
    )


async def _stop(visit: Visit, robot: str) -> str:
    """Returns why it could not be done."""
    try:
        await visit.ask("POST", f"/robots/{quote(robot, safe='')}/stop")
    except Refused as error:
        return str(error)
    return ""
