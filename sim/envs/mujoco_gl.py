"""How MuJoCo draws where there is no screen."""

from __future__ import annotations

import os
import sys
from ctypes.util import find_library
from pathlib import Path

from robot_client.errors import RobotError

VARIABLE = "MUJOCO_GL"
NONE = "disable"  # MuJoCo's own word for no renderer
LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}


def choose_renderer() -> None:
    """Set MUJOCO_GL, unless it is set, to EGL or OSMesa. On Linux; others need a screen.

    EGL is for a GPU: on the processor OSMesa is the faster one. MuJoCo reads the
    variable when it is first imported, and does not start where PYOPENGL_PLATFORM says otherwise.
    """
    if sys.platform != "linux" or os.environ.get(VARIABLE):
        return
    best = os.environ.get("PYOPENGL_PLATFORM") or ("egl" if _has_gpu() else "osmesa")
    order = sorted(LIBRARIES, key=lambda name: name != best)
    found = (name for name in order if find_library(LIBRARIES[name]))
    os.environ[VARIABLE] = next(found, NONE)


def require_renderer() -> None:
    """Raises RobotError if there is nothing to draw with."""
    if os.environ.get(VARIABLE) == NONE:
        raise RobotError(
            f"{VARIABLE}={NONE}: MuJoCo has nothing to draw with; install libosmesa6 (or libegl1 "
            f"with a GPU) and leave {VARIABLE} unset"
        )


def _has_gpu() -> bool:
    return any(any(Path("/dev").glob(name)) for name in ("nvidia[0-9]*", "dri/renderD*"))
