"""What simulated robots and environments cost: steps and pictures, in processor time of one core.

Processor time, not the clock's: they compute alone, so what else the machine does changes little.
"""

from collections.abc import Callable
from importlib.util import find_spec
from time import process_time

import numpy as np

from benchmarks.machine import Payload, Row
from robot_client.robot import Robot
from robot_client.robots import make_robot
from sim.a1 import A1
from sim.ball import Ball
from sim.pointmass import PointMass
from sim.sphero import Sphero
from sim.ur5 import Ur5
from sim.xarm import XArm

STEPS = 500
PICTURES = 20
PIXELS = 64
FORMS: dict[str, Callable[[], Robot]] = {
    "A1, vector": lambda: A1(),
    "ball, vector": lambda: Ball("vector"),
    "ball, 64x64 camera": lambda: Ball("camera"),
    "point mass, vector": lambda: PointMass(),
    "point mass, 32x32 camera": lambda: PointMass(camera=True),
    "sphero, 64x64 camera": Sphero,
    "UR5, 64x64 camera": lambda: Ur5(),
    "xArm, 64x64 camera with depth": lambda: XArm(),
}
ENVIRONMENTS = (
    "dreamfleet/Sokoban-v0",
    "dreamfleet/MiniPacman-Regular-v0",
    "dreamfleet/Reach-v0",
    "dreamfleet/Push-v0",
    "dreamfleet/CarRacing-v0",
    *(['dreamfleet/CarRacing-v0 {"engine": "envpool"}'] if find_spec("envpool") else []),
    "dreamfleet/TakeCover-v0",
    "dreamfleet/Atari-Pong-v0",
    "dm_control/walker-walk-v0",
)


def measure(quick: bool = False) -> Payload:
    """One row a robot or environment, from `STEPS` steps with an observation each."""
    steps = STEPS // 10 if quick else STEPS
    rows = [_row(name, make(), steps) for name, make in FORMS.items()]
    return {
        "rows": [*rows, *(_row(name, make_robot(f"gym:{name}"), steps) for name in ENVIRONMENTS)]
    }


def _row(name: str, robot: Robot, steps: int) -> Row:
    robot.action_space.seed(0)
    robot.connect()
    robot.reset(0)
    start = process_time()
    for _ in range(steps):
        robot.apply(np.asarray(robot.action_space.sample()))
        reading = robot.observe()
        if reading.terminated or reading.truncated:
            robot.reset(None)
    rate = steps / (process_time() - start)
    picture_ms = _picture_ms(robot)
    robot.close()
    return {
        "robot": name,
        "steps_per_cpu_s": rate,
        "times_real_time": rate / robot.control_hz,
        "picture_ms": picture_ms,
    }


def _picture_ms(robot: Robot) -> float | None:
    """Processor time of a picture of 64x64; None for what draws none apart from its observation."""
    picture = getattr(robot, "picture", None)
    if picture is None or not isinstance(picture(PIXELS), np.ndarray):
        return None
    start = process_time()
    for _ in range(PICTURES):
        picture(PIXELS)
    return 1e3 * (process_time() - start) / PICTURES
