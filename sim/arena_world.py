"""The arena of `ball` and `sphero` in PyBullet: a walled square with a ball and a goal, from above.

Lengths are metres with the origin in the arena's corner; x goes right and y up in the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robot_client.errors import RobotError
from robot_client.robots.arena import GOAL, PIXELS, SIDE_M
from sim.engine import Camera, Engine, box, empty
from sim.variation import World

PHYSICS_HZ = 240

RADIUS = 0.035  # m
MASS = 0.2  # kg
MAX_TORQUE = 0.0115  # N m: from rest, full power crosses the arena in about 2 s
DRAG = 0.83  # share of the speed that a free ball loses in a second, besides friction
ROLLING_FRICTION = 2e-4  # m

WALL_HEIGHT = 0.04  # m
WALL_THICKNESS = 0.02  # m
START_MARGIN = 0.15  # share of the side: no ball is put nearer to a wall

FLOOR_COLOUR = (0.25, 0.25, 0.28, 1.0)
WALL_COLOUR = (0.75, 0.75, 0.75, 1.0)
GOAL_COLOUR = (0.1, 0.85, 0.2, 1.0)
BALL_COLOUR = (1.0, 0.35, 0.1, 1.0)
GOAL_RADIUS = 0.05  # m

CAMERA_HEIGHT = 3.0  # m: high, so that there is little perspective
CAMERA_VIEW = SIDE_M + 2 * WALL_THICKNESS  # m, side of the floor in the picture
OVERHEAD = Camera(
    eye=(SIDE_M / 2, SIDE_M / 2, CAMERA_HEIGHT),
    target=(SIDE_M / 2, SIDE_M / 2, 0.0),
    up=(0.0, 1.0, 0.0),
    view_deg=2 * math.degrees(math.atan(CAMERA_VIEW / 2 / CAMERA_HEIGHT)),
    near=0.5,
    far=CAMERA_HEIGHT + 1,
    pixels=PIXELS,
)


class ArenaWorld:
    """An engine of its own with the arena in it. Several do not disturb each other.

    Args:
        name: of the robot, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._engine: Engine | None = None  # while connected
        self._ball: int | None = None  # its body, once one was built
        self._varied = World()
        self._ticks = 0  # physics steps since `connect`

    @property
    def built(self) -> bool:
        """Whether there is a ball."""
        return self._ball is not None

    def connect(self) -> None:
        """Start the engine."""
        if self._engine is None:
            self._engine, self._ticks = Engine(), 0

    def close(self) -> None:
        """Stop the engine."""
        if self._engine is not None:
            self._engine.disconnect()
        self._engine = self._ball = None

    def engine(self) -> Engine:
        """The engine. Raises RobotError unless connected."""
        if self._engine is None:
            raise RobotError(f"{self._name}: not connected")
        return self._engine

    def ball(self) -> int:
        """The ball's body. Raises RobotError before there is one."""
        if self._ball is None:
            raise RobotError(f"{self._name}: reset it first")
        return self._ball

    def build(self, start: NDArray[np.float64]) -> None:
        """Empty the world and fill it anew: nothing of before is left in the solver.

        Args:
            start: (2,) where the ball stands, as shares of the side.
        """
        self._ball = _build(self.engine(), start * SIDE_M)

    def vary(self, varied: World) -> None:
        """Give the ball the mass and friction of this variation, and the picture its light."""
        self._varied = varied
        # The engine multiplies the coefficients of ball and floor: the ball's alone are scaled.
        self.engine().changeDynamics(
            self.ball(),
            -1,
            mass=MASS * varied.mass,
            lateralFriction=varied.friction,
            rollingFriction=ROLLING_FRICTION * varied.friction,
            spinningFriction=ROLLING_FRICTION * varied.friction,
        )

    def roll(self, seconds: float, torque: Callable[[], tuple[float, float]] | None = None) -> None:
        """Let the world go on, with a torque about x and y (N m) asked for at each physics step."""
        engine, ball = self.engine(), self.ball()
        for _ in range(round(seconds * PHYSICS_HZ)):  # the engine forgets a torque after each step
            if torque is not None:
                engine.applyExternalTorque(ball, -1, [*torque(), 0.0], engine.WORLD_FRAME)
            engine.stepSimulation()
        self._ticks += round(seconds * PHYSICS_HZ)

    def state(self) -> NDArray[np.float32]:
        """(4,) of the ball: position x, y in arena units, velocity in arena units per second."""
        engine, ball = self.engine(), self.ball()
        position = engine.getBasePositionAndOrientation(ball)[0]
        velocity = engine.getBaseVelocity(ball)[0]
        return np.array([*position[:2], *velocity[:2]], np.float32) / np.float32(SIDE_M)

    def picture(self, pixels: int = PIXELS) -> NDArray[np.uint8]:
        """(pixels, pixels, 3) of the arena from above, in the present light."""
        engine = self.engine()
        self.ball()
        light = self._varied.light(self._ticks / PHYSICS_HZ)
        return replace(OVERHEAD, pixels=pixels).picture(engine, light)[0]


def _build(engine: Engine, start: NDArray[np.float64]) -> int:
    empty(engine, PHYSICS_HZ)
    centre, half = SIDE_M / 2, SIDE_M / 2 + WALL_THICKNESS
    floor = box(engine, (half, half, 0.05), (centre, centre, -0.05), FLOOR_COLOUR)
    engine.changeDynamics(floor, -1, lateralFriction=1.0, rollingFriction=ROLLING_FRICTION)
    thin, high = WALL_THICKNESS / 2, WALL_HEIGHT / 2
    for offset in (-thin, SIDE_M + thin):
        box(engine, (thin, half, high), (offset, centre, high), WALL_COLOUR)
        box(engine, (half, thin, high), (centre, offset, high), WALL_COLOUR)
    _goal(engine)
    return _sphere(engine, [*start, RADIUS])


def _goal(engine: Engine) -> None:
    """A disc on the floor that is seen but not felt."""
    disc = engine.createVisualShape(
        engine.GEOM_CYLINDER, radius=GOAL_RADIUS, length=0.002, rgbaColor=GOAL_COLOUR
    )
    engine.createMultiBody(0, -1, disc, [*(GOAL.astype(float) * SIDE_M), 0.001])


def _sphere(engine: Engine, start: list[float]) -> int:
    collision = engine.createCollisionShape(engine.GEOM_SPHERE, radius=RADIUS)
    visual = engine.createVisualShape(engine.GEOM_SPHERE, radius=RADIUS, rgbaColor=BALL_COLOUR)
    body: int = engine.createMultiBody(MASS, collision, visual, start)
    engine.changeDynamics(body, -1, restitution=0.3, linearDamping=DRAG, angularDamping=DRAG)
    return body
