"""An arm of two joints that must push a puck to a goal: after TDM's pusher and HER's push."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sim.engine import Camera, Engine, Vector, box
from sim.envs.goals import RENDER_PIXELS, GoalEnv, Numbers, draw_far, mark

JOINTS = range(2)  # shoulder and elbow, both upright
FINGER = 2  # the link that touches
UPPER = FORE = 0.3  # m, lengths of the arm's halves
HEIGHT = 0.12  # m, of the shoulder
POST_RADIUS = 0.04  # m
BEAM = (0.018, 0.012)  # m, half width and half height
HOME = np.array([-0.9, 1.8])  # rad: the finger at (0.37, 0)
SPREAD = 0.1  # rad: the start differs from it by at most so much
LIMITS = ((-2.2, 1.2), (0.4, 2.7))  # rad: the arm is never straight, so it can always go both ways
MAX_SPEED = 1.5  # rad/s at an action of 1
MAX_TORQUE = 5.0  # N m

FINGER_RADIUS = 0.012  # m
FINGER_LENGTH = 0.09  # m
PUCK_RADIUS = 0.04  # m
PUCK_HEIGHT = 0.04  # m
PUCK_MASS = 0.1  # kg
FRICTION = 0.7

AREA = spaces.Box(np.array([0.28, -0.17], np.float32), np.array([0.46, 0.17], np.float32))
FARTHER = 0.1  # m: the puck's start is no nearer to the finger, the goal no nearer to the puck

Colour = tuple[float, float, float, float]
ARM_COLOUR = (0.95, 0.55, 0.1, 1.0)
FINGER_COLOUR = (0.2, 0.2, 0.25, 1.0)
PUCK_COLOUR = (0.2, 0.35, 0.9, 1.0)
TABLE_COLOUR = (0.75, 0.72, 0.68, 1.0)


class Push(GoalEnv):
    """Push a puck across a table to a goal.

    The action (2,) in [-1, 1] is the velocities of shoulder and elbow, in shares of 1.5 rad/s.
    `observation` (10,) is the joints' angles (rad) and velocities (rad/s), the finger's position
    (m), the puck's position (m) and velocity (m/s), each in the plane; the goals (2,) are positions
    of the puck.

    Args:
        sparse: the reward is 0 within 5 cm and -1 elsewhere, instead of minus the distance (m).
        render_mode: `rgb_array` or nothing.
    """

    CAMERA = Camera((0.85, -0.55, 0.75), (0.25, 0.0, 0.0), view_deg=60, pixels=RENDER_PIXELS)

    def __init__(self, sparse: bool = False, render_mode: str | None = None) -> None:
        high = np.array([4, 4, 20, 20, 1, 1, 2, 2, 5, 5], np.float32)
        observed = spaces.Box(-high, high, dtype=np.float32)
        super().__init__(observed, AREA, len(JOINTS), sparse=sparse, render_mode=render_mode)
        self._arm = self._puck = -1  # their bodies

    def _build(self, world: Engine, rng: np.random.Generator) -> Numbers:
        table = box(world, (0.8, 0.8, 0.05), (0.0, 0.0, -0.05), TABLE_COLOUR)
        world.changeDynamics(table, -1, lateralFriction=1.0)
        self._arm = _arm(world)
        for joint, angle in zip(JOINTS, HOME + rng.uniform(-SPREAD, SPREAD, 2), strict=True):
            world.resetJointState(self._arm, joint, angle)
        start = draw_far(rng, AREA, self._finger(world), FARTHER)
        self._puck = _puck(world, (start[0], start[1], PUCK_HEIGHT / 2))
        goal = draw_far(rng, AREA, start, FARTHER)
        mark(world, (goal[0], goal[1], 0.0), 0.03)
        return goal

    def _drive(self, world: Engine, action: NDArray[np.float64]) -> None:
        world.setJointMotorControlArray(
            self._arm,
            JOINTS,
            world.VELOCITY_CONTROL,
            targetVelocities=action * MAX_SPEED,
            forces=[MAX_TORQUE] * 2,
        )

    def _observe(self, world: Engine) -> tuple[list[float], list[float]]:
        states = world.getJointStates(self._arm, JOINTS)
        joints = [state[i] for i in (0, 1) for state in states]
        puck = list(world.getBasePositionAndOrientation(self._puck)[0][:2])
        velocity = list(world.getBaseVelocity(self._puck)[0][:2])
        return joints + self._finger(world).tolist() + puck + velocity, puck

    def _finger(self, world: Engine) -> NDArray[np.float64]:
        # without being asked, PyBullet tells where the link was one physics step before
        state = world.getLinkState(self._arm, FINGER, computeForwardKinematics=True)
        return np.array(state[4][:2])


def _arm(world: Engine) -> int:
    """Two beams that turn above the table, and a finger that hangs down from the second."""
    shapes = [
        _beam(world, UPPER, ARM_COLOUR),
        _beam(world, FORE, ARM_COLOUR),
        _cylinder(world, FINGER_RADIUS, FINGER_LENGTH, FINGER_COLOUR, -FINGER_LENGTH / 2),
    ]
    centres = [(UPPER / 2, 0, 0), (FORE / 2, 0, 0), (0, 0, -FINGER_LENGTH / 2)]
    body: int = world.createMultiBody(
        0,
        *_cylinder(world, POST_RADIUS, HEIGHT, FINGER_COLOUR),
        (0.0, 0.0, HEIGHT / 2),
        linkMasses=[0.4, 0.3, 0.05],
        linkCollisionShapeIndices=[felt for felt, _ in shapes],
        linkVisualShapeIndices=[seen for _, seen in shapes],
        linkPositions=[(0, 0, HEIGHT / 2), (UPPER, 0, -2 * BEAM[1]), (FORE, 0, 0)],
        linkOrientations=[(0, 0, 0, 1)] * 3,
        linkInertialFramePositions=centres,
        linkInertialFrameOrientations=[(0, 0, 0, 1)] * 3,
        linkParentIndices=[0, 1, 2],  # 0 is the post
        linkJointTypes=[world.JOINT_REVOLUTE, world.JOINT_REVOLUTE, world.JOINT_FIXED],
        linkJointAxis=[(0, 0, 1)] * 3,
    )
    for joint, (low, high) in zip(JOINTS, LIMITS, strict=True):
        world.changeDynamics(body, joint, jointLowerLimit=low, jointUpperLimit=high)
    return body


def _puck(world: Engine, start: Vector) -> int:
    shapes = _cylinder(world, PUCK_RADIUS, PUCK_HEIGHT, PUCK_COLOUR)
    body: int = world.createMultiBody(PUCK_MASS, *shapes, start)
    world.changeDynamics(body, -1, lateralFriction=FRICTION)
    return body


def _beam(world: Engine, length: float, colour: Colour) -> tuple[int, int]:
    """Collision and visual shape of a beam that begins at the joint and lies along x."""
    half, centre = (length / 2, *BEAM), (length / 2, 0, 0)
    return (
        world.createCollisionShape(world.GEOM_BOX, halfExtents=half, collisionFramePosition=centre),
        world.createVisualShape(
            world.GEOM_BOX, halfExtents=half, visualFramePosition=centre, rgbaColor=colour
        ),
    )


def _cylinder(
    world: Engine, radius: float, height: float, colour: Colour, z: float = 0.0
) -> tuple[int, int]:
    """Collision and visual shape of an upright cylinder whose middle is at height z."""
    kind, centre = world.GEOM_CYLINDER, (0, 0, z)
    return (
        world.createCollisionShape(
            kind, radius=radius, height=height, collisionFramePosition=centre
        ),
        world.createVisualShape(
            kind, radius=radius, length=height, visualFramePosition=centre, rgbaColor=colour
        ),
    )
