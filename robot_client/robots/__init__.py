"""Every robot by name. A new robot is one file and one row here."""

from __future__ import annotations

import difflib
import json
from importlib import import_module
from typing import Any

from robot_client.errors import DreamfleetError, RobotError
from robot_client.robot import Robot
from robot_client.robots.faulty import Faults as Faults
from robot_client.robots.faulty import Faulty as Faulty
from robot_client.robots.fitted import Fitted as Fitted
from robot_client.robots.fitted import common_spaces as common_spaces
from robot_client.robots.fitted import fit as fit

ROBOTS: dict[str, str] = {
    "a1": "sim.a1:A1",
    "ball": "sim.ball:Ball",
    "counting": "robot_client.robots.counting:CountingRobot",
    "pointmass": "sim.pointmass:PointMass",
    "sphero": "sim.sphero:Sphero",
    "torque-arm": "sim.torque_arm:TorqueArm",
    "ur5": "sim.ur5:Ur5",
    "xarm": "sim.xarm:XArm",
}
HARDWARE: dict[str, str] = {  # machines; their SDKs are loaded when they are connected
    "lerobot": "robot_client.robots.lerobot:LeRobotRobot",
    "sphero-ble": "robot_client.robots.sphero:Sphero",
    "ur5-rtde": "robot_client.robots.ur5:Ur5",
    "xarm-sdk": "robot_client.robots.xarm:XArm",
}


def make_robot(spec: str, **options: Any) -> Robot:
    """Construct a robot, without connecting it.

    Args:
        spec: a name of `ROBOTS` or `HARDWARE`, `gym:ID` for any gymnasium environment, or
            `module:Class`; behind it and a space its options may stand, as a JSON object.
        options: further keyword arguments of the class, or of `gymnasium.make`. One of them is
            ours: `faults`, the fields of `robot_client.robots.faulty.Faults` for any robot.

    Raises:
        RobotError: there is no such robot, or it does not take these options.
        SchemaError: its spaces are not supported, or there are no such faults.
    """
    name, _, written = spec.partition(" ")
    options = _written(spec, written) | options
    faults = options.pop("faults", None)
    robot = _made(spec, name, options)
    return robot if faults is None else Faulty(robot, Faults.from_json(faults))


def _made(spec: str, name: str, options: dict[str, Any]) -> Robot:
    if name.startswith("gym:"):
        target, options = "robot_client.robots.gym:GymRobot", {"env_id": name[4:], **options}
    else:
        target = {**ROBOTS, **HARDWARE}.get(name, name)
    try:
        robot = _load(spec, target)(**options)
    except DreamfleetError:
        raise
    except (TypeError, ValueError) as error:
        raise RobotError(f"{spec}: cannot be made with {options}: {error}") from error
    if not isinstance(robot, Robot):
        raise RobotError(f"{spec}: {type(robot).__name__} is no Robot: it lacks {_lacking(robot)}")
    return robot


def _written(spec: str, text: str) -> dict[str, Any]:
    try:
        options = json.loads(text or "{}")
    except ValueError as error:
        raise RobotError(f"{spec}: its options are not JSON: {error}") from error
    if not isinstance(options, dict):
        raise RobotError(f"{spec}: its options are not a JSON object")
    return options


def _load(spec: str, target: str) -> Any:
    module, _, name = target.partition(":")
    if not name:
        close = difflib.get_close_matches(spec, [*ROBOTS, *HARDWARE], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        known = ", ".join(sorted([*ROBOTS, *HARDWARE]))
        raise RobotError(f"no robot {spec!r}{hint} There are: {known}, gym:ID, module:Class")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RobotError(f"{spec}: {error}") from error


def _lacking(robot: object) -> str:
    needed = "observation_space action_space control_hz task connect reset apply observe stop close"
    return ", ".join(n for n in needed.split() if not hasattr(robot, n))
