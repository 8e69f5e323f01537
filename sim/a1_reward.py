"""The staged reward of DayDreamer's A1 (Wu et al. 2022, section 3 and the released code).

Each stage counts only once the one before is nearly done: turn over, then hips, upper legs and
knees to the standing pose, then walk. A robot that stands gets 9, one on its back 5, at most 14.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.a1_joints import STANDING, Joints, as_action

GATE = 0.7  # a stage must exceed this for the next one to count
SPEED = 0.3  # m/s at which walking pays most
WALKING = 10.0  # weight of walking


@dataclass(frozen=True)
class Stages:
    """The parts of the reward, each in [0, 1]."""

    up: float
    hip: float
    shoulder: float
    knee: float
    velocity: float

    @property
    def total(self) -> float:
        """The reward, in [5, 14]."""
        staged = self.up + self.hip + self.shoulder + self.knee
        return staged + WALKING * (self.velocity + 1) / 2


def stages(rotation: NDArray[np.float64], joints: Joints, velocity: NDArray[np.float64]) -> Stages:
    """The reward's parts for a state.

    Args:
        rotation: (3, 3) of the base: its columns are the base's axes in the world.
        joints: (12,) angles in rad, in the order of `sim.a1_joints`.
        velocity: (3,) of the base in the world, m/s.
    """
    near = 1 - _deviation(joints).reshape(4, 3).mean(0)
    up = float(rotation[2, 2]) / 2 + 0.5
    hip = (up > GATE) * float(near[0])
    shoulder = (hip > GATE) * float(near[1])
    knee = (shoulder > GATE) * float(near[2])
    walk = (knee > GATE) * _walking(rotation, velocity)
    return Stages(up, hip, shoulder, knee, walk)


def _deviation(joints: Joints) -> Joints:
    """(12,) how far each joint is from standing, as a share of the farthest that it could be."""
    away = np.abs(as_action(joints) - STANDING)
    return np.clip(away / np.maximum(1 - STANDING, 1 + STANDING), 0, 1)


def _walking(rotation: NDArray[np.float64], velocity: NDArray[np.float64]) -> float:
    """Share of the wanted speed ahead, times the share of the motion that goes ahead."""
    speed, ahead = float(np.linalg.norm(velocity)), forward_speed(rotation, velocity)
    if speed == 0:  # the released code divides by it
        return 0.0
    return max(0.0, ahead) / speed * float(np.clip(ahead / SPEED, -1, 1))


def forward_speed(rotation: NDArray[np.float64], velocity: NDArray[np.float64]) -> float:
    """Velocity along the base's x axis laid on the ground, m/s; 0 where that axis is vertical."""
    heading = rotation[:2, 0]
    length = float(np.linalg.norm(heading))
    return float(heading @ velocity[:2]) / length if length else 0.0
