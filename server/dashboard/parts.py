"""What the pages are put together from: pills, figures, panels, buttons, times and small curves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from nicegui import ui

Element = TypeVar("Element", bound=ui.element)
Kind = str  # one of KINDS: classes of style.css
KINDS = frozenset({"good", "warn", "bad", "off", "busy"})
EXPERIMENT_KINDS = {"running": "good", "paused": "warn", "failed": "bad", "created": "busy"}
LEARNER_KINDS = {
    "running": "good",
    "starting": "busy",
    "paused": "warn",
    "frozen": "bad",
    "restarting": "bad",
    "failed": "bad",
}
NONE = "\N{EN DASH}"
_WIDTH, _HEIGHT = 120, 26  # of a small curve, in its own units


def pill(text: str = "", kind: Kind = "off") -> ui.label:
    """A state, in the colour of its kind."""
    label = ui.label(text)
    label.classes(f"pill {kind}")
    return label


def show_pill(label: ui.label, text: str, kind: Kind) -> None:
    """Change a pill, if it has changed."""
    label.text = text
    colour(label, kind)


def colour(element: ui.element, kind: Kind) -> None:
    """Give an element the colour of one kind; empty: of none."""
    if kind not in element.classes:
        element.classes(add=kind, remove=" ".join(KINDS - {kind}))
    elif not kind:
        element.classes(remove=" ".join(KINDS))


def named(element: Element, name: str) -> Element:
    """Give an element a name by which the browser's side can find it."""
    element.props["data-mark"] = name
    return element


class Figure:
    """A number with its name above and more about it below."""

    def __init__(self, name: str, about: str = "") -> None:
        with ui.element("div").classes("figure") as self.box:
            ui.label(name).classes("name")
            self._value = ui.label(NONE).classes("value")
            self._more = ui.label(about).classes("more")

    def show(self, value: str, more: str | None = None, kind: Kind = "") -> None:
        """Change what it says."""
        self._value.text = value
        if more is not None:
            self._more.text = more
        colour(self.box, kind)


@contextmanager
def panel(title: str, classes: str = "", more: str = "") -> Iterator[ui.element]:
    """A titled box; what the block makes stands in it."""
    with ui.element("section").classes(f"panel {classes}") as box:
        with ui.element("div").classes("title"):
            ui.label(title).classes("heading")
            if more:
                ui.label(more).classes("quiet")
        yield box


def table(*columns: str) -> ui.element:
    """An empty table; returns the body, which holds its rows."""
    with ui.element("table").classes("list"):
        with ui.element("thead"), ui.element("tr"):
            for name in columns:
                with ui.element("th"):
                    ui.label(name)
        return ui.element("tbody")


def cell(text: str | None = None, classes: str = "") -> ui.element:
    """A cell of a table, with a text in it if one is given."""
    with ui.element("td").classes(classes) as made:
        if text is not None:
            ui.label(text)
    return made


def button(
    text: str,
    icon: str,
    do: Callable[[], Awaitable[Any] | Any],
    classes: str = "",
    hint: str = "",
) -> ui.button:
    """A flat button; `hint` says more when the pointer rests on it."""
    made = ui.button(text, icon=icon, on_click=do, color=None)
    made.props("flat dense no-caps").classes(classes)
    if hint:
        made.tooltip(hint)
    return made


@contextmanager
def asking(classes: str = "") -> Iterator[ui.dialog]:
    """A dialog; what the block makes stands in it. It belongs to the page, not to the button that
    has opened it: that may stand in a row which is made anew before the answer."""
    with ui.context.client, ui.dialog() as dialog, ui.card().classes(f"ask {classes}"):
        yield dialog


async def sure(question: str, yes: str, kind: Kind = "bad") -> bool:
    """Ask before something that cannot be taken back, or that may hurt."""
    with asking() as dialog:
        ui.label(question)
        with ui.element("div").classes("buttons"):
            button("Cancel", "close", lambda: dialog.submit(False))
            button(yes, "check", lambda: dialog.submit(True), f"solid {kind}").props(
                "data-mark=sure"
            )
    answer = await dialog
    dialog.delete()
    return bool(answer)


def small_curve(values: Iterable[float | None], low: float | None = None) -> str:
    """An SVG of the newest values; `low` is the lowest that the scale begins with.

    It holds numbers only, so that it can be shown as it is.
    """
    points = list(values)
    known = [value for value in points if value is not None]
    if len(known) < 2:
        return f'<svg class="spark" viewBox="0 0 {_WIDTH} {_HEIGHT}"></svg>'
    bottom = min(known) if low is None else min(low, *known)
    span = (max(known) - bottom) or 1.0
    step = _WIDTH / max(1, len(points) - 1)
    line = " ".join(
        f"{index * step:.1f},{_HEIGHT - 2 - (value - bottom) / span * (_HEIGHT - 4):.1f}"
        for index, value in enumerate(points)
        if value is not None
    )
    return (
        f'<svg class="spark" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none">'
        f'<polyline points="{line}"/></svg>'
    )


def drawing(content: str = "") -> ui.html:
    """An element for `small_curve`."""
    return ui.html(content, sanitize=False).classes("sparkbox")


def number(value: float | None, digits: int = 1) -> str:
    """For people: thousands set apart, small numbers with more digits, and a dash for none."""
    if value is None:
        return NONE
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    size = abs(value)
    if size < 0.01:
        return f"{value:.1e}"
    return f"{value:,.{digits if size >= 1 else 3}f}"


def duration(seconds: float | None) -> str:
    """As 3 s, 5 min, 2 h or 4 d."""
    if seconds is None:
        return NONE
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"


def clock(time: float, date: bool = False) -> str:
    """The time of day, on this server."""
    return datetime.fromtimestamp(time).strftime("%d %b %H:%M:%S" if date else "%H:%M:%S")


def size_of(nbytes: int) -> str:
    """As 3.1 MB."""
    for unit in ("B", "kB", "MB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000  # type: ignore[assignment]
    return f"{nbytes:.1f} GB"


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """The mean of each value and those before it, `window` in all."""
    means, total = [], 0.0
    for index, value in enumerate(values):
        total += value - (values[index - window] if index >= window else 0.0)
        means.append(total / min(index + 1, window))
    return means
