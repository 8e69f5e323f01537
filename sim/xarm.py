"""An xArm that carries a soft thing between two bins: DayDreamer's (Wu et al. 2022), simulated.

The paper's arm has seven joints; the xArm6 of pybullet_data, which is used here, has six. Its
meshes are replaced by bones. 0.5 Hz, 64x64 pixels with depth, one soft thing on an unseen string.

The thing is a rigid cube with a springy surface. One of PyBullet's soft bodies was tried with three
settings: it kept the fingers 3 cm too wide, and with two of them pushed them open when lifted, so
that the opening told nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pybullet_data

from robot_client.robots.bins import Bin, Layout, Point, Side
from robot_client.robots.pick_place import DepthBand
from sim.arm import SimArm, SimPickPlace
from sim.arm_model import ArmModel
from sim.arm_world import AddThing
from sim.engine import Camera, Engine, box
from sim.variation import Variation

CONTROL_HZ = 0.5
JOINTS = 6
DEPTH = DepthBand(near=0.5, far=1.2)  # m: what is nearer or farther is not in the bins

HALF = 0.021  # m, half the side of the thing
MASS = 0.03  # kg
COLOUR = (0.9, 0.25, 0.55, 1.0)
STIFFNESS = 800.0  # N/m of its surface: the gripper presses it to two thirds of its width
DAMPING = 4.0  # N s/m
STRING = 0.18  # m: from one side of a bin it pulls the thing off the slope at the other

LAYOUT = Layout(
    left=Bin(x=0.34, y=0.11, columns=5, rows=5),
    right=Bin(x=0.34, y=-0.27, columns=5, rows=5),
    low=0.028,
    hover=0.16,
)
MODEL = ArmModel(
    urdf=Path(pybullet_data.getDataPath(), "xarm", "xarm6_robot.urdf"),
    flange="link6",
    rest=(0.4, -0.1, -1.2, 0.0, 1.3, 0.4),
    camera=Camera(eye=(0.9, 0.0, 0.8), target=(0.46, 0.0, 0.02), view_deg=52.0, far=4.0),
    bones=0.045,
)


class XArm(SimPickPlace):
    """The arm with one soft thing. Spaces, actions and rewards: `PickPlace`, with depth image.

    Args:
        vary: fields of `Variation`, of the thing and the light; None: every world is the same.

    Raises:
        ValueError: a field of `vary` is out of range. TypeError: there is no such field.
    """

    def __init__(self, vary: Mapping[str, float] | None = None) -> None:
        things: dict[Side, list[AddThing]] = {"left": [add_cushion]}
        arm = SimArm(MODEL, LAYOUT, things, string=STRING, variation=Variation(**vary or {}))
        super().__init__(
            arm, LAYOUT, "xarm-pick-place", control_hz=CONTROL_HZ, joints=JOINTS, depth=DEPTH
        )


def add_cushion(world: Engine, centre: Point) -> int:
    """A light cube whose surface gives way like a spring."""
    body = box(world, (HALF, HALF, HALF), centre, COLOUR, MASS)
    world.changeDynamics(
        body,
        -1,
        lateralFriction=1.2,
        spinningFriction=1e-3,
        rollingFriction=1e-3,
        contactStiffness=STIFFNESS,
        contactDamping=DAMPING,
        linearDamping=0.3,
        angularDamping=0.3,
    )
    return body
