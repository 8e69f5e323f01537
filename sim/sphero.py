"""A Sphero Ollie that must roll to a goal that only a camera sees, in PyBullet.

DayDreamer's visual navigation (Wu et al., 2022) as its code has it: the twin of the hardware driver
that shares `robot_client.robots.arena` with it. Nothing but the picture is observed; which way the
robot faces shows only in how it moves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from robot_client.robot import Action, Reading
from robot_client.robots import arena
from sim.arena_world import (
    CAMERA_HEIGHT,
    CAMERA_VIEW,
    MAX_TORQUE,
    PHYSICS_HZ,
    RADIUS,
    START_MARGIN,
    ArenaWorld,
)
from sim.variation import Variation

TURN_RATE = math.pi  # rad/s at full power of the motors against each other

_SEEN = CAMERA_VIEW * (1 - RADIUS / CAMERA_HEIGHT)  # m, side of the picture at the ball's middle
_LOW = (1 - arena.SIDE_M / _SEEN) / 2 + 0.5 / arena.PIXELS  # the renderer samples pixels' corners
_HIGH = _LOW + arena.SIDE_M / _SEEN
LOOK = arena.Look(left=_LOW, bottom=_LOW, right=_HIGH, top=_HIGH)


class Sphero:
    """A shell that a two-wheeled cart inside drives. Several do not disturb each other.

    The action (2,) in [-1, 1] is the raw power of the left and the right motor, stabilisation off:
    half their sum drives the shell forward, half their difference, right less left, turns the cart.
    The observation is `camera` alone, (64, 64, 3) uint8. The reward is minus the distance from ball
    to goal in arena units, found in that picture; an episode lasts 100 steps and is never terminal.

    Nobody lifts the ball: a reset is five random moves and a rest of 4 s, from wherever it is. Only
    a seed begins a fresh world, and the first reset does.

    Args:
        vary: arguments of `sim.variation.Variation`. The sun goes its way whatever the seed.

    Raises:
        ValueError: a variation makes no sense.
    """

    control_hz = arena.CONTROL_HZ
    blend_steps = 0  # a simulation: a jump can hurt nobody
    task = arena.TASK

    def __init__(self, vary: Mapping[str, float] | None = None) -> None:
        self.observation_space = arena.observation_space()
        self.action_space = arena.action_space()
        self._variation = Variation(**(vary or {}))
        self._rng = np.random.default_rng()
        self._world = ArenaWorld("sphero")
        self._referee = arena.Referee(LOOK)
        self._heading = 0.0  # of the cart, rad from the x axis towards the y axis
        self._reading: Reading | None = None  # of the present state, once observed

    def connect(self) -> None:
        """Start a physics engine of its own."""
        self._world.connect()

    def reset(self, seed: int | None = None) -> None:
        """Move about at random and settle: 9 simulated seconds.

        With a seed the episode, and those after it, depend on nothing that went before.
        """
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        if seed is not None or not self._world.built:
            self._begin()
        self._world.vary(self._variation.draw(self._rng))
        for action, seconds in arena.reset_moves(self._rng):
            self._drive(action, seconds)
        self._reading = self._referee.reading(self._world.picture(), first=True)

    def apply(self, action: Action) -> Action:
        """Drive with these powers, clipped to [-1, 1], for one control period.

        Raises RobotError when the action is not two finite numbers.
        """
        self._world.ball()
        sent = arena.sent_action(action)
        self._drive(sent, 1 / arena.CONTROL_HZ)
        self._reading = None
        return sent

    def observe(self) -> Reading:
        """The present picture, with the reward for having arrived in it."""
        self._world.ball()
        if self._reading is None:
            self._reading = self._referee.reading(self._world.picture(), first=False)
        return self._reading

    def pose(self) -> tuple[float, float, float]:
        """Position x, y (arena units) and heading (rad), which no hardware knows: for tests."""
        x, y = self._world.state()[:2]
        return float(x), float(y), math.remainder(self._heading, math.tau)

    def picture(self, pixels: int = 256) -> NDArray[np.uint8]:
        """(pixels, pixels, 3) view for people: the camera's."""
        return self._world.picture(pixels)

    def stop(self) -> None:
        """Nothing to do: no power outlasts `apply`."""

    def close(self) -> None:
        """Stop the physics engine."""
        self._world.close()
        self._reading = None

    def _begin(self) -> None:
        """A fresh world, the ball anywhere, facing anywhere."""
        self._world.build(self._rng.uniform(START_MARGIN, 1 - START_MARGIN, 2))
        self._heading = self._rng.uniform(-math.pi, math.pi)
        self._referee.forget()

    def _drive(self, action: Action, seconds: float) -> None:
        left, right = action.astype(float).tolist()
        turn = (right - left) / 2 * TURN_RATE / PHYSICS_HZ
        strength = (left + right) / 2 * MAX_TORQUE

        def torque() -> tuple[float, float]:
            """About the axle, which turns with the cart."""
            self._heading += turn
            return -strength * math.sin(self._heading), strength * math.cos(self._heading)

        self._world.roll(seconds, torque)
