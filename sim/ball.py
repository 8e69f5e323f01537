"""A Sphero-like ball that must roll to a goal, in PyBullet.

The task is the visual navigation of DayDreamer (Wu et al., 2022): a rolling robot in a square arena
of 0.8 m, two motor commands twice a second, reward minus the distance to a fixed goal, 100 steps.

Lengths inside are metres with the origin in the arena's corner. What the robot shows is in arena
units, shares of the arena's side: in the camera's picture x goes right and y up, both from 0 to 1.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.errors import RobotError
from robot_client.robot import Action, Reading
from robot_client.schema import Task
from sim.engine import Camera, Engine, box, empty

Observe = Literal["vector", "camera", "both"]

ARENA = 0.8  # m, side
GOAL = np.array([0.825, 0.165], np.float32)  # arena units
PIXELS = 64

CONTROL_HZ = 2.0
PHYSICS_HZ = 240
SUBSTEPS = round(PHYSICS_HZ / CONTROL_HZ)
SETTLING_STEPS = 60  # physics steps of free rolling after a reset

RADIUS = 0.035  # m
MASS = 0.2  # kg
MAX_TORQUE = 0.0115  # N m: from rest, full power crosses the arena in about 2 s
DRAG = 0.83  # share of the speed that a free ball loses in a second, besides friction
ROLLING_FRICTION = 2e-4  # m

WALL_HEIGHT = 0.04  # m
WALL_THICKNESS = 0.02  # m
START_MARGIN = 0.15  # arena units: no episode starts nearer to a wall

FLOOR_COLOUR = (0.25, 0.25, 0.28, 1.0)
WALL_COLOUR = (0.75, 0.75, 0.75, 1.0)
GOAL_COLOUR = (0.1, 0.85, 0.2, 1.0)
BALL_COLOUR = (1.0, 0.35, 0.1, 1.0)
GOAL_RADIUS = 0.05  # m

CAMERA_HEIGHT = 3.0  # m: high, so that there is little perspective
CAMERA_VIEW = ARENA + 2 * WALL_THICKNESS  # m, side of the floor in the picture
OVERHEAD = Camera(
    eye=(ARENA / 2, ARENA / 2, CAMERA_HEIGHT),
    target=(ARENA / 2, ARENA / 2, 0.0),
    up=(0.0, 1.0, 0.0),
    view_deg=2 * math.degrees(math.atan(CAMERA_VIEW / 2 / CAMERA_HEIGHT)),
    near=0.5,
    far=CAMERA_HEIGHT + 1,
    pixels=PIXELS,
)


class Ball:
    """The ball in its arena. Simulated in this process; several do not disturb each other.

    The action (2,) in [-1, 1] is the torque about the x and the y axis, in shares of `MAX_TORQUE`:
    (0, 1) rolls to the right (growing x), (1, 0) downwards (shrinking y).

    Observations, by `observe`:
        vector  (4,) float32: position x, y in arena units, velocity x, y in arena units per second
        camera  (64, 64, 3) uint8: the arena from above
        both    the two under these names

    The reward is minus the distance to `GOAL` in arena units, from the position that is observed
    with it; `info["distance"]` is that distance. An episode lasts 100 steps and is never terminal.
    Uniformly random actions stay about 0.5 away from the goal, a damped spring less than 0.05.

    Args:
        observe: which observations the robot has.

    Raises:
        ValueError: `observe` is another word.
    """

    control_hz = CONTROL_HZ
    blend_steps = 0  # a simulation: a jump can hurt nobody
    task = Task("roll-to-goal", episode_steps=100)

    def __init__(self, observe: Observe = "vector") -> None:
        if observe not in get_args(Observe):
            raise ValueError(f"observe: expected one of {get_args(Observe)}, got {observe!r}")
        self.observation_space = spaces.Dict(
            {key: space for key, space in _spaces().items() if observe in (key, "both")}
        )
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._rng = np.random.default_rng()
        self._world: Engine | None = None  # while connected
        self._ball: int | None = None  # its body, once there has been a reset
        self._reading: Reading | None = None  # of the present state, once observed

    def connect(self) -> None:
        """Start a physics engine of its own."""
        if self._world is None:
            self._world = Engine()

    def reset(self, seed: int | None = None) -> None:
        """Put the ball somewhere away from the walls and let it settle.

        With a seed the episode, and those after it, depend on nothing that went before.
        """
        world = self._connected()
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        start = self._rng.uniform(START_MARGIN, 1 - START_MARGIN, 2)
        self._ball = _build(world, start * ARENA)
        for _ in range(SETTLING_STEPS):
            world.stepSimulation()
        self._reading = self._read(reward=False)

    def apply(self, action: Action) -> Action:
        """Drive with these torques, clipped to [-1, 1], for one control period.

        Raises RobotError when the action is not two finite numbers.
        """
        world, ball = self._connected(), self._started()
        if np.shape(action) != (2,) or not np.isfinite(action).all():
            raise RobotError(f"ball: expected two finite numbers as action, got {action!r}")
        sent = np.clip(action, -1, 1).astype(np.float32)
        torque = [*(sent.astype(float) * MAX_TORQUE), 0.0]
        for _ in range(SUBSTEPS):  # the engine forgets a torque after each step
            world.applyExternalTorque(ball, -1, torque, world.WORLD_FRAME)
            world.stepSimulation()
        self._reading = None
        return sent

    def observe(self) -> Reading:
        """The present state, with the reward for having arrived in it."""
        self._started()
        if self._reading is None:
            self._reading = self._read(reward=True)
        return self._reading

    def camera(self) -> NDArray[np.uint8]:
        """(64, 64, 3) picture of the arena from above, whatever the robot observes."""
        world = self._connected()
        self._started()
        return OVERHEAD.picture(world)[0]

    def stop(self) -> None:
        """Nothing to do: no torque outlasts `apply`."""

    def close(self) -> None:
        """Stop the physics engine."""
        if self._world is not None:
            self._world.disconnect()
        self._world = self._ball = self._reading = None

    def _connected(self) -> Engine:
        if self._world is None:
            raise RobotError("ball: not connected")
        return self._world

    def _started(self) -> int:
        if self._ball is None:
            raise RobotError("ball: reset it first")
        return self._ball

    def _read(self, reward: bool) -> Reading:
        world = self._connected()
        position = world.getBasePositionAndOrientation(self._ball)[0]
        velocity = world.getBaseVelocity(self._ball)[0]
        vector = np.array([*position[:2], *velocity[:2]], np.float32) / np.float32(ARENA)
        distance = float(np.linalg.norm(vector[:2] - GOAL))
        obs: dict[str, NDArray[Any]] = {}
        if "vector" in self.observation_space.spaces:
            obs["vector"] = vector
        if "camera" in self.observation_space.spaces:
            obs["camera"] = self.camera()
        return Reading(obs, -distance if reward else 0.0, info={"distance": distance})


def _spaces() -> dict[str, spaces.Box]:
    high = np.array([1, 1, 4, 4], np.float32)  # four times what the motors can reach
    low = np.array([0, 0, -4, -4], np.float32)
    return {
        "vector": spaces.Box(low, high, dtype=np.float32),
        "camera": spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8),
    }


def _build(world: Engine, start: NDArray[np.float64]) -> int:
    """Empty the world and fill it anew: nothing of the episode before is left in the solver."""
    empty(world, PHYSICS_HZ)
    centre, half = ARENA / 2, ARENA / 2 + WALL_THICKNESS
    floor = box(world, (half, half, 0.05), (centre, centre, -0.05), FLOOR_COLOUR)
    world.changeDynamics(floor, -1, lateralFriction=1.0, rollingFriction=ROLLING_FRICTION)
    thin, high = WALL_THICKNESS / 2, WALL_HEIGHT / 2
    for offset in (-thin, ARENA + thin):
        box(world, (thin, half, high), (offset, centre, high), WALL_COLOUR)
        box(world, (half, thin, high), (centre, offset, high), WALL_COLOUR)
    _goal(world)
    return _sphere(world, [*start, RADIUS])


def _goal(world: Engine) -> None:
    """A disc on the floor that is seen but not felt."""
    disc = world.createVisualShape(
        world.GEOM_CYLINDER, radius=GOAL_RADIUS, length=0.002, rgbaColor=GOAL_COLOUR
    )
    world.createMultiBody(0, -1, disc, [*(GOAL.astype(float) * ARENA), 0.001])


def _sphere(world: Engine, start: list[float]) -> int:
    collision = world.createCollisionShape(world.GEOM_SPHERE, radius=RADIUS)
    visual = world.createVisualShape(world.GEOM_SPHERE, radius=RADIUS, rgbaColor=BALL_COLOUR)
    body: int = world.createMultiBody(MASS, collision, visual, start)
    world.changeDynamics(
        body,
        -1,
        lateralFriction=1.0,
        rollingFriction=ROLLING_FRICTION,
        spinningFriction=ROLLING_FRICTION,
        restitution=0.3,
        linearDamping=DRAG,
        angularDamping=DRAG,
    )
    return body
