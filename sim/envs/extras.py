"""What the environments of libraries share: the library itself, and how they are drawn."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from robot_client.errors import RobotError


def needs(module: str, extra: str = "envs") -> Any:
    """Import a module of one of this project's extras. Raises RobotError that names the extra."""
    try:
        return import_module(module)
    except ImportError as error:
        raise RobotError(f"needs {module}: {error}; pip install 'dreamfleet[{extra}]'") from error


def drawn(render_mode: str | None) -> str | None:
    """The mode itself. Raises ValueError unless it is `rgb_array` or None."""
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode: expected rgb_array or None, got {render_mode!r}")
    return render_mode
