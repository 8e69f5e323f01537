"""Fields of a form from a JSON schema, as pydantic writes it."""

from __future__ import annotations

import json
from typing import Any, cast

from nicegui import ui
from nicegui.elements.mixins.validation_element import ValidationElement

from robot_client.schema import Json
from server.dashboard.parts import named

_BOUNDS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "above"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "below"),
)
_PROPS = "dense outlined options-dense stack-label hide-bottom-space"


class SchemaForm:
    """A field per property, empty until somebody fills it: what would hold then stands in grey.

    What has no field of its own kind, such as a nested object, is written as JSON.

    Args:
        schema: of an object; made in NiceGUI's current place.
    """

    def __init__(self, schema: Json) -> None:
        self._properties: dict[str, Json] = schema.get("properties", {})
        self._fields = {name: self._field(name) for name in self._properties}

    def begin_with(self, preset: Json) -> None:
        """Show what holds for the fields that stay empty: the preset's, or the default."""
        for name, field in self._fields.items():
            value = preset.get(name, self._properties[name].get("default"))
            field.props["placeholder"] = _shown(value)
            if isinstance(field, ui.select):
                empty = f"{_shown(value)} (as it is)"
                options = {key: text for key, text in dict(field.options).items() if key != ""}
                field.set_options({"": empty} | options, value=field.value or "")

    def changed(self) -> dict[str, Any]:
        """The fields that have been filled. What is no JSON is sent as text, to be refused."""
        given = {name: field.value for name, field in self._fields.items()}
        return {
            name: self._read(name, value)
            for name, value in given.items()
            if value is not None and value != ""
        }

    def clear_problems(self) -> None:
        """No field is wrong."""
        for field in self._fields.values():
            field.error = None

    def show_problem(self, name: str, text: str) -> bool:
        """Say at a field what is wrong with it; False when there is no such field."""
        field = self._fields.get(name.partition(".")[0])
        if field is not None:
            field.error = text
        return field is not None

    def _field(self, name: str) -> ValidationElement[Any]:
        about = self._properties[name]
        match self._kind(name):
            case "choice":
                texts = {value: str(value) for value in about["enum"]}
                made: Any = ui.select({"": ""} | texts, label=name, value="")
            case "boolean":
                made = ui.select({"": "", "true": "yes", "false": "no"}, label=name, value="")
            case "integer" | "number":
                made = ui.number(label=name)
            case _:
                made = ui.input(label=name)
        named(made.props(_PROPS), f"field-{name}").tooltip(hint_of(about))
        return cast("ValidationElement[Any]", made)

    def _kind(self, name: str) -> str:
        about = self._properties[name]
        return "choice" if "enum" in about else str(about.get("type", "json"))

    def _read(self, name: str, value: Any) -> Any:
        match self._kind(name):
            case "integer":
                return int(value) if float(value).is_integer() else value
            case "boolean":
                return value == "true"
            case "number" | "string" | "choice":
                return value
        try:
            return json.loads(value)
        except ValueError:
            return value


def hint_of(about: Json) -> str:
    """What a property is, and its bounds, in words."""
    bounds = [f"{words} {about[key]:g}" for key, words in _BOUNDS if key in about]
    return " ".join([about.get("description", ""), ", ".join(bounds)]).strip()


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value)
