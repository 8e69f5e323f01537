"""A cart that swings a hanging pole up and holds it there: PETS' cart-pole (Chua et al. 2018)."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.rewards import Expression
from robot_client.schema import Task
from sim.envs.extras import drawn
from sim.envs.pixels import rods

CONTROL_HZ = 20
SUBSTEPS = 10
CART, POLE, LENGTH = 0.5, 0.2, 0.6  # kg, kg at the tip, m
FRICTION = 0.1  # N s/m, of the cart
FORCE = 10.0  # N, at most
TRACK = 3.0  # m, to both sides; the cart stops there
GRAVITY = 9.81


class CartPoleSwingUp(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """The observation is place and speed of the cart (m, m/s), cosine and sine of the pole's angle
    from upright, and how fast it turns (rad/s), (5,) float32. The action is the force in units of
    10 N, (1,) in -1..1.

    The reward is exp(-(d / 0.6)^2) less 0.01 a^2, of the distance d (m) of the tip from where it
    is when all is upright in the middle. Nothing ends an episode but its time limit.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012, gymnasium's own type
        "render_modes": ["rgb_array"],
        "render_fps": CONTROL_HZ,
    }

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = drawn(render_mode)
        self._limit = np.array([TRACK, 20.0, 1.0, 1.0, 30.0], np.float32)
        self.observation_space = spaces.Box(-self._limit, self._limit)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        aside, below = f"(obs[0] - {LENGTH} * obs[3])", f"({LENGTH} * obs[2] - {LENGTH})"
        near = f"exp(-({aside}**2 + {below}**2) / {LENGTH**2:.2f})"
        self.task = Task("swing up", reward=Expression(f"{near} - 0.01 * action[0]**2"))
        self._state = np.zeros(4)  # place, angle, and their speeds

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """The pole hangs, nearly still."""
        super().reset(seed=seed)
        self._state = np.array([0.0, math.pi, 0.0, 0.0]) + self.np_random.uniform(-0.1, 0.1, 4)
        return self._seen(), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One control period of 50 ms."""
        sent = np.clip(np.asarray(action, np.float32), -1, 1)
        for _ in range(SUBSTEPS):
            self._move(FORCE * float(sent[0]), 1 / (CONTROL_HZ * SUBSTEPS))
        obs = self._seen()
        reward = self.task.rewards({"obs": obs}, sent)
        return obs, float(reward), False, False, {}

    def render(self) -> NDArray[np.uint8] | None:
        """(256, 256, 3) from the side."""
        if self.render_mode is None:
            return None
        place, angle = float(self._state[0]) / TRACK, float(self._state[1])
        tip = (place + 0.6 * math.sin(angle), 0.6 * math.cos(angle))
        cart = (place - 0.15, 0.0, place + 0.15, 0.0, "b")
        return rods([(-1.0, 0.0, 1.0, 0.0, "m"), cart, (place, 0.0, *tip, "r")])

    def _move(self, force: float, seconds: float) -> None:
        """Semi-implicit Euler of a point on a massless rod."""
        place, angle, speed, turning = self._state.tolist()
        sin, cos = math.sin(angle), math.cos(angle)
        push = force - FRICTION * speed - POLE * LENGTH * turning**2 * sin
        faster = (push + POLE * GRAVITY * sin * cos) / (CART + POLE * sin**2)
        spin = (GRAVITY * sin + faster * cos) / LENGTH
        speed, turning = speed + seconds * faster, turning + seconds * spin
        place = place + seconds * speed
        if abs(place) > TRACK:
            place, speed = math.copysign(TRACK, place), 0.0
        self._state = np.array([place, angle + seconds * turning, speed, turning])

    def _seen(self) -> NDArray[np.float32]:
        place, angle, speed, turning = self._state
        obs = np.array([place, speed, math.cos(angle), math.sin(angle), turning], np.float32)
        return obs.clip(-self._limit, self._limit)
