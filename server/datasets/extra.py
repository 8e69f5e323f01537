"""Packages that only datasets need: imported when they are used, so that a server runs without."""

from __future__ import annotations

import importlib
from typing import Any

from server.errors import SettingsError


def need(module: str) -> Any:
    """Import a module. Raises SettingsError that names the extra it comes with."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise SettingsError(
            f"this needs {package}, which is not installed on the server: "
            "pip install 'dreamfleet[datasets]'"
        ) from error
