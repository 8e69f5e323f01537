"""A small quadrotor that is to stay level: the Crazyflie of Lambert et al. 2019 ("Low-level control
of a quadrotor with deep model-based reinforcement learning"), without its height and place."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.rewards import Expression, Quadratic
from robot_client.schema import Task
from sim.envs.extras import drawn
from sim.envs.pixels import rods

CONTROL_HZ = 50
SUBSTEPS = 10
MASS = 0.035  # kg
INERTIA = np.array([2.395e-5, 2.395e-5, 3.235e-5])  # kg m^2, about x, y, z
ARM = 0.0355 / math.sqrt(2)  # m, of each motor's lever about x and y
THRUST = (0.35, 0.26)  # N per motor and duty cycle d: 0.35 d + 0.26 d^2
YAW = 0.025  # m, torque about z per newton of thrust
FALLEN = math.radians(45)
SPREAD = 0.2  # of the duty cycle around that of hovering
NOISE = (0.002, 0.02)  # rad and rad/s, deviation of what the sensors say
_HOVER = (-THRUST[0] + math.sqrt(THRUST[0] ** 2 + THRUST[1] * MASS * 9.81)) / (2 * THRUST[1])
# Which way each motor turns the body about x (roll), y (pitch) and z (yaw).
_TURNS = np.array([[-1, -1, 1, 1], [-1, 1, 1, -1], [-1, 1, -1, 1]]) * [[ARM], [ARM], [YAW]]

State = NDArray[np.float64]


class Quadrotor(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Angles and how they change; four motors. Nothing holds it level but who controls it.

    The observation is roll, pitch, yaw (rad) and the rates of the body (rad/s), (6,) float32, with
    a little noise. The action is the duty cycle of each motor, (4,), within 20 % of hovering. The
    reward is minus the squares of roll and pitch; beyond 45 degrees the episode ends.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012, gymnasium's own type
        "render_modes": ["rgb_array"],
        "render_fps": CONTROL_HZ,
    }

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = drawn(render_mode)
        limit = np.array([np.pi] * 3 + [50.0] * 3, np.float32)
        low, high = (np.full(4, _HOVER * k, np.float32) for k in (1 - SPREAD, 1 + SPREAD))
        self._seen_within, self._duty = spaces.Box(-limit, limit), spaces.Box(low, high)
        self.observation_space, self.action_space = self._seen_within, self._duty
        self.task = Task(
            "stay level",
            reward=Quadratic("obs", (1.0, 1.0, 0.0, 0.0, 0.0, 0.0), (0.0,) * 6),
            terminal=Expression(f"(obs[0]**2 > {FALLEN**2:.4f}) + (obs[1]**2 > {FALLEN**2:.4f})"),
        )
        self._state: State = np.zeros(6)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Let go of it, nearly level and nearly still."""
        super().reset(seed=seed)
        self._state = np.concatenate(
            [self.np_random.uniform(-0.05, 0.05, 3), self.np_random.uniform(-0.2, 0.2, 3)]
        )
        return self._seen(), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One control period of 20 ms."""
        duty = np.clip(action, self._duty.low, self._duty.high).astype(float)
        torque = _TURNS @ (THRUST[0] * duty + THRUST[1] * duty**2)
        for _ in range(SUBSTEPS):
            self._state = self._state + _slope(self._state, torque) / (CONTROL_HZ * SUBSTEPS)
        obs, tilt = self._seen(), self._state[:2]
        fallen = bool(np.abs(obs[:2]).max() > FALLEN)
        degrees = math.degrees(math.hypot(*tilt))
        return obs, -float((obs[:2] ** 2).sum()), fallen, False, {"tilt_degrees": degrees}

    def render(self) -> NDArray[np.uint8] | None:
        """(256, 256, 3): how far it leans to the side (above) and forwards (below)."""
        if self.render_mode is None:
            return None
        lean = [(0.5, float(self._state[0]), "b"), (-0.5, float(self._state[1]), "r")]
        arms = [(0.6 * math.cos(a), 0.6 * math.sin(a), y, c) for y, a, c in lean]
        return rods([(-x, y - up, x, y + up, colour) for x, up, y, colour in arms])

    def _seen(self) -> NDArray[np.float32]:
        noise = self.np_random.standard_normal(6) * np.repeat(NOISE, 3)
        space = self._seen_within
        seen: NDArray[np.float64] = np.clip(self._state + noise, space.low, space.high)
        return seen.astype(np.float32)


def _slope(state: State, torque: State) -> State:
    """Euler angles and body rates (6,) per second, under a torque (3,) in N m."""
    roll, pitch = state[:2]
    rates = state[3:]
    about = math.sin(roll) * rates[1] + math.cos(roll) * rates[2]
    angles = [
        rates[0] + math.tan(pitch) * about,
        math.cos(roll) * rates[1] - math.sin(roll) * rates[2],
        about / math.cos(pitch),
    ]
    spin = (torque - np.cross(rates, INERTIA * rates)) / INERTIA
    return np.concatenate([angles, spin])
