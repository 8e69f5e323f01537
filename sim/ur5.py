"""A UR5 that carries balls between two bins: DayDreamer's (Wu et al. 2022), simulated.

The arm is made of primitives from its published Denavit-Hartenberg parameters (`ur5.urdf`); the
balls, the bins and the camera are our own. 2 Hz, 64x64 pixels, several balls in each bin.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from robot_client.robots.bins import Bin, Layout, Point, Side
from sim.arm import SimArm, SimPickPlace
from sim.arm_model import ArmModel
from sim.arm_world import AddThing
from sim.engine import Camera, Engine
from sim.variation import Variation

CONTROL_HZ = 2.0
JOINTS = 6
BALLS = 3  # in each bin
RADIUS = 0.022  # m
MASS = 0.04  # kg
STIFFNESS = 1500.0  # N/m of its surface, as of foam: a finger that comes down on one squashes it
DAMPING = 8.0  # N s/m
COLOURS = ((0.95, 0.2, 0.15, 1.0), (1.0, 0.6, 0.1, 1.0), (0.95, 0.9, 0.2, 1.0))

LAYOUT = Layout(
    left=Bin(x=0.36, y=0.11, columns=6, rows=5),
    right=Bin(x=0.36, y=-0.27, columns=6, rows=5),
    low=0.028,
    hover=0.16,
)
MODEL = ArmModel(
    urdf=Path(__file__).with_name("ur5.urdf"),
    flange="flange",
    rest=(3.0, -1.2, 1.8, -2.2, -1.57, 0.0),
    camera=Camera(eye=(0.95, 0.0, 0.8), target=(0.5, 0.0, 0.02), view_deg=52.0, far=4.0),
)


class Ur5(SimPickPlace):
    """The arm with six balls. Spaces, actions and rewards: `PickPlace`, without depth image.

    A reset sweeps the bin's corners with the open gripper.

    Args:
        vary: fields of `Variation`, of the balls and the light; None: every world is the same.

    Raises:
        ValueError: a field of `vary` is out of range. TypeError: there is no such field.
    """

    def __init__(self, vary: Mapping[str, float] | None = None) -> None:
        balls: list[AddThing] = [partial(add_ball, colour=colour) for colour in COLOURS[:BALLS]]
        things: dict[Side, list[AddThing]] = {"left": balls, "right": balls}
        arm = SimArm(MODEL, LAYOUT, things, variation=Variation(**vary or {}))
        super().__init__(
            arm, LAYOUT, "ur5-pick-place", control_hz=CONTROL_HZ, joints=JOINTS, sweep=True
        )


def add_ball(world: Engine, centre: Point, colour: tuple[float, ...]) -> int:
    """A ball of foam rubber: light, soft, rough and slow to roll."""
    collision = world.createCollisionShape(world.GEOM_SPHERE, radius=RADIUS)
    visual = world.createVisualShape(world.GEOM_SPHERE, radius=RADIUS, rgbaColor=colour)
    body: int = world.createMultiBody(MASS, collision, visual, centre)
    world.changeDynamics(
        body,
        -1,
        lateralFriction=1.0,
        rollingFriction=5e-4,
        spinningFriction=5e-4,
        contactStiffness=STIFFNESS,
        contactDamping=DAMPING,
        linearDamping=0.3,
        angularDamping=0.3,
    )
    return body
