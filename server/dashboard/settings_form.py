"""A form of settings that hold already: numbers, ticks and robots, from a model's JSON schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from nicegui import ui
from nicegui.elements.mixins.validation_element import ValidationElement

from robot_client.schema import Json
from server.dashboard.fields import hint_of
from server.dashboard.parts import named

_PROPS = "dense outlined options-dense stack-label hide-bottom-space"


class SettingsForm:
    """A field per property, filled with what holds; an empty number stands for none.

    Args:
        schema: of an object whose properties are numbers, booleans, and lists of robots.
        holds: the value of each property.
        robots: names to choose from.
        mark: begins the names of the fields on the browser's side.
    """

    def __init__(self, schema: Json, holds: Json, robots: Sequence[str], mark: str) -> None:
        self._mark, self._robots = mark, robots
        self._properties: dict[str, Json] = schema["properties"]
        with ui.element("div").classes("form narrow"):
            self._fields = {name: self._field(name, holds[name]) for name in self._properties}

    def values(self) -> Json:
        """All of them; whole numbers as such."""
        return {name: _whole(field.value) for name, field in self._fields.items()}

    def clear_problems(self) -> None:
        """No field is wrong."""
        for field in self._fields.values():
            if isinstance(field, ValidationElement):
                field.error = None

    def show_problem(self, path: str, text: str) -> bool:
        """Say at a field what is wrong with it; False when there is no such field."""
        found = next((self._fields[n] for n in path.split(".") if n in self._fields), None)
        if isinstance(found, ValidationElement):
            found.error = text
            return True
        return False

    def _field(self, name: str, value: Any) -> Any:
        about, label = self._properties[name], name.replace("_", " ")
        match about.get("type"):
            case "boolean":
                made: Any = ui.checkbox(label, value=value)
            case "array":
                options = sorted({*self._robots, *value})
                made = ui.select(options, label=label, value=list(value), multiple=True)
                made.props(f"{_PROPS} use-chips")
            case _:
                made = ui.number(label=label, value=value).props(_PROPS)
        named(made, f"{self._mark}-{name}").tooltip(hint_of(about))
        return cast("Any", made)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
