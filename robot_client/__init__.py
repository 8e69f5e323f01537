"""The robot's side of Dreamfleet: light, and independent of everything else of it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Action": "robot_client.robot",
    "DreamfleetError": "robot_client.errors",
    "Reading": "robot_client.robot",
    "Robot": "robot_client.robot",
    "RobotEnv": "robot_client.robots.env",
    "RobotError": "robot_client.errors",
    "SchemaError": "robot_client.errors",
    "Task": "robot_client.schema",
    "check_robot": "robot_client.testing",
    "make_robot": "robot_client.robots",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """A public name, whose module is loaded when it is first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
