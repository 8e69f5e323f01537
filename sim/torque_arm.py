"""An arm of two links whose motors are torques: start and goal are always the same.

Small enough for NumPy, and of the kind that Gu et al. 2016 reach and push with: near one trajectory
it is almost linear, far from it its inertia turns with the elbow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.errors import RobotError
from robot_client.rewards import Distance
from robot_client.robot import Action, Reading
from robot_client.schema import Task

CONTROL_HZ = 20.0
SUBSTEPS = 5
LINK = 0.5  # m, of each link, whose mass of 1 kg is spread evenly
TORQUE = np.array([2.0, 1.0])  # Nm, largest at shoulder and elbow
DAMPING = 0.3  # Nm s
GOAL = (-0.2, 0.7)  # m, of the tip; it starts at (1, 0)
_JOINTS, _SPEEDS = 20.0, 60.0  # rad and rad/s, beyond what an episode can come to
_CENTRE = LINK / 2
_INERTIA = LINK**2 / 12

Numbers = NDArray[np.float64]


class TorqueArm:
    """Two links in a plane without gravity, stretched at first; the tip must come to a point.

    The action (2,) in [-1, 1] is the torque of shoulder and elbow, in shares of 2 and 1 Nm, for a
    control period of 0.05 s. The reward is minus the tip's distance from the goal, in metres. An
    episode lasts 40 steps and is never terminal. Doing nothing has a return of -56, uniformly
    random actions a mean of about -55.

    Observations:
        joints  (2,) float32: angles of shoulder and elbow, rad, not wrapped
        speeds  (2,) float32: rad/s
        tip     (2,) float32: m
    """

    control_hz = CONTROL_HZ
    blend_steps = 0  # a simulation: a jump can hurt nobody
    task = Task("reach-by-torque", episode_steps=40, reward=Distance("tip", GOAL))

    def __init__(self) -> None:
        def box(limit: float) -> spaces.Box:
            return spaces.Box(-limit, limit, (2,), np.float32)

        parts: dict[str, spaces.Space[Any]] = {
            "joints": box(_JOINTS),
            "speeds": box(_SPEEDS),
            "tip": box(2 * LINK),
        }
        self.observation_space = spaces.Dict(parts)
        self.action_space = box(1.0)
        self._joints, self._speeds = np.zeros(2), np.zeros(2)
        self._steps = -1  # in this episode; -1 before the first

    def connect(self) -> None:
        """There is no device."""

    def reset(self, seed: int | None = None) -> None:
        """Stretch the arm; nothing is drawn."""
        self._joints, self._speeds = np.zeros(2), np.zeros(2)
        self._steps = 0

    def apply(self, action: Action) -> Action:
        """Turn for one control period with these torques, clipped to [-1, 1].

        Raises RobotError before the first reset, and when the action is not two finite numbers.
        """
        self._check_started()
        if np.shape(action) != (2,) or not np.isfinite(action).all():
            raise RobotError(f"torque-arm: expected 2 finite numbers as action, got {action!r}")
        sent = np.clip(action, -1, 1).astype(np.float32)
        period = 1 / CONTROL_HZ / SUBSTEPS
        for _ in range(SUBSTEPS):
            turning = _acceleration(self._joints, self._speeds, sent * TORQUE)
            self._speeds = np.clip(self._speeds + period * turning, -_SPEEDS, _SPEEDS)
            self._joints = np.clip(self._joints + period * self._speeds, -_JOINTS, _JOINTS)
        self._steps += 1
        return sent

    def observe(self) -> Reading:
        """The present state, with the reward for having arrived in it."""
        self._check_started()
        tip = _tip(self._joints)
        parts = {"joints": self._joints, "speeds": self._speeds, "tip": tip.clip(-1, 1)}
        distance = float(np.linalg.norm(tip - GOAL))
        obs = {name: value.astype(np.float32) for name, value in parts.items()}
        return Reading(obs, -distance if self._steps else 0.0, info={"distance": distance})

    def stop(self) -> None:
        """Nothing to do: no torque outlasts `apply`."""

    def close(self) -> None:
        """There is no device."""

    def _check_started(self) -> None:
        if self._steps < 0:
            raise RobotError("torque-arm: reset it first")


def _tip(joints: Numbers) -> Numbers:
    first, both = joints[0], joints.sum()
    return LINK * np.array([np.cos(first) + np.cos(both), np.sin(first) + np.sin(both)])


def _acceleration(joints: Numbers, speeds: Numbers, torque: Numbers) -> Numbers:
    """(2,) rad/s^2, by the equations of motion of a double pendulum without weight."""
    swing = LINK * _CENTRE * np.cos(joints[1])
    outer = _INERTIA + _CENTRE**2
    between = outer + swing
    inner = outer + LINK**2 + between + swing
    mass = np.array([[inner, between], [between, outer]])
    shoulder, elbow = speeds
    pull = LINK * _CENTRE * np.sin(joints[1])
    coriolis = pull * np.array([-elbow * (2 * shoulder + elbow), shoulder**2])
    found: Numbers = np.linalg.solve(mass, torque - coriolis - DAMPING * speeds)
    return found
