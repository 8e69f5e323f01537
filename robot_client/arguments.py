"""Values of the command line, each with a message that tells a person what was expected."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from robot_client.bundle import PlanSettings
from robot_client.errors import SchemaError
from robot_client.names import robot_name

# The settings beside which most values of the others are right: the bundle's own are not known yet.
_WIDEST = PlanSettings(candidates=2**16, elites=1, proposals=0)


def name(text: str) -> str:
    """A robot's name."""
    try:
        return robot_name(text)
    except SchemaError as error:
        raise ArgumentTypeError(f"expected {error.expected}; got {error.got}") from error


def json_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    example = """expected a JSON object such as '{"seed": 3}'"""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{example}; got {text!r}, which is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"{example}; got {text!r}")
    return value


def speed(text: str) -> float:
    """How many times real time; infinity stands for as fast as possible."""
    found = float("inf") if text == "max" else _number(text)
    if not found > 0:
        raise ArgumentTypeError(f"expected a number above 0, or max; got {text!r}")
    return found


def seconds(text: str) -> float:
    """A time that is not nothing."""
    found = _number(text)
    if not 0 < found < float("inf"):
        raise ArgumentTypeError(f"expected a number of seconds above 0; got {text!r}")
    return found


def count(text: str) -> int:
    """How many; at least one."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a whole number from 1 on; got {text!r}")
    return int(text)


def whole(text: str) -> int:
    """A whole number that is not negative."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"expected a whole number from 0 on; got {text!r}")
    return int(text)


def plan(text: str) -> Mapping[str, Any]:
    """Fields of `PlanSettings`; a wrong one is found before the robot starts."""
    found = json_object(text)
    known = PlanSettings.__dataclass_fields__
    unknown = sorted(found.keys() - known.keys())
    if unknown:
        there_are = ", ".join(known)
        raise ArgumentTypeError(f"no plan setting is called {unknown[0]!r}; there are {there_are}")
    try:
        replace(_WIDEST, **found)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(str(error)) from error
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
