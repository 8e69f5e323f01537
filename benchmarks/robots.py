"""Steps per second of the simulated robots, on one core and as fast as they go."""

from collections.abc import Callable
from time import perf_counter

import numpy as np

from benchmarks.machine import Payload, Row
from robot_client.robot import Robot
from sim.a1 import A1
from sim.ball import Ball
from sim.pointmass import PointMass
from sim.sphero import Sphero
from sim.ur5 import Ur5
from sim.xarm import XArm

STEPS = 500
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


def measure(quick: bool = False) -> Payload:
    """One row a robot, from `STEPS` steps with an observation each."""
    steps = STEPS // 10 if quick else STEPS
    return {"rows": [_row(name, make(), steps) for name, make in FORMS.items()]}


def _row(name: str, robot: Robot, steps: int) -> Row:
    robot.action_space.seed(0)
    robot.connect()
    robot.reset(0)
    start = perf_counter()
    for _ in range(steps):
        robot.apply(np.asarray(robot.action_space.sample()))
        robot.observe()
    rate = steps / (perf_counter() - start)
    robot.close()
    return {"robot": name, "steps_per_s": rate, "times_real_time": rate / robot.control_hz}
