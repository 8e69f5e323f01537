"""The table of devices by which a person drives a robot. A new one is one file and one row."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

from robot_client.errors import DreamfleetError, RobotError
from robot_client.teleop import Teleop

TELEOPS: dict[str, str] = {  # what they need is loaded when they are connected
    "gamepad": "robot_client.teleops.gamepad:Gamepad",
    "keyboard": "robot_client.teleops.keyboard:Keyboard",
    "script": "robot_client.teleops.script:Script",
}


def make_teleop(spec: str) -> Teleop:
    """Construct a device, without connecting it.

    Args:
        spec: a name of `TELEOPS`, or `module:Class` for one's own; behind it and a space its
            keyword arguments may stand as a JSON object, as in `script {"play": "expert:act"}`.

    Raises:
        RobotError: there is no such device, or it does not take these arguments.
    """
    name, _, written = spec.partition(" ")
    module, _, attribute = TELEOPS.get(name, name).partition(":")
    if not attribute:
        raise RobotError(f"no teleop {name!r}. There are: {', '.join(TELEOPS)}, module:Class")
    try:
        options: Any = json.loads(written or "{}")
        made = getattr(import_module(module), attribute)(**options)
    except DreamfleetError:
        raise
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise RobotError(f"teleop {spec}: {error}") from error
    if not isinstance(made, Teleop):
        raise RobotError(f"teleop {spec}: {type(made).__name__} is no Teleop")
    return made
