"""What a driver loads by name, and only when it must: SDKs of devices, and a user's functions."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from robot_client.errors import RobotError


def load_sdk(module: str, package: str) -> Any:
    """A module of a device's SDK. Raises RobotError that names the package to install."""
    try:
        return import_module(module)
    except ImportError as error:
        raise RobotError(f"{module}: {error}; it comes with: pip install {package}") from error


def load_function(spec: str) -> Callable[..., Any]:
    """The function that `module:function` names. Raises RobotError if there is none."""
    module, _, name = spec.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RobotError(f"{spec}: expected module:function: {error}") from error
    if not callable(found):
        raise RobotError(f"{spec}: expected module:function, got {type(found).__name__}")
    return found  # type: ignore[no-any-return]
