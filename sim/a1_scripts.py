"""Scripts that show what the A1 can do: roll off its back, stand, trot. Found by random search.

They look at nothing: an action follows from the number of the step alone. Measured on flat ground
without variation: from its back to its feet in 58 steps, in 22 of 22 starts; 9.0 a step for
standing, 11.1 for trotting at 0.18 m/s, 9.6 for a whole segment from the back to the trot. The roll
has little to spare: with up to 20 % more or less of mass and 30 % of friction half of them fail.
"""

from __future__ import annotations

import numpy as np

from robot_client.robot import Action
from sim.a1 import CONTROL_HZ
from sim.a1_joints import STANDING

POSE_STEPS = 18  # for each pose of the roll
RIGHT = np.array([[-0.18, 1.0, 0.1], [-0.88, 0.81, 0.74], [-0.25, 0.15, 0.12]])  # hip, upper, knee
LEFT = np.array([[-0.06, -0.04, -0.34], [0.06, 0.54, 0.3], [0.91, -0.61, 0.89]])
ON_ITS_FEET = 3 * POSE_STEPS + 40  # steps after which trotting may begin

TROT_HZ = 0.86  # slow, because of the low-pass
STRIDE = 0.144  # amplitude of the upper legs
LIFT = 0.352  # amplitude of the knees
LAG = -1.36  # rad of the knees behind the upper legs
LEAN, CROUCH = -0.223, 0.914  # middle of the upper legs, knees when stretched
PHASES = np.array([0.0, np.pi, np.pi, 0.0])  # diagonal legs together


def stand(step: int) -> Action:
    """(12,) the standing pose."""
    return STANDING.astype(np.float32)


def roll_over(step: int) -> Action:
    """(12,) push off with the right legs while the left ones fold, then stand."""
    pose = step // POSE_STEPS
    if pose >= len(RIGHT):
        return stand(step)
    both = np.concatenate([RIGHT[pose], LEFT[pose]])
    return np.tile(both, 2).astype(np.float32)


def trot(step: int) -> Action:
    """(12,) swing diagonal legs together."""
    phase = 2 * np.pi * TROT_HZ * step / CONTROL_HZ + PHASES
    upper = LEAN + STRIDE * np.sin(phase)
    knee = CROUCH - LIFT * np.maximum(0, np.sin(phase + LAG))
    return np.stack([np.zeros(4), upper, knee], -1).ravel().astype(np.float32)


def roll_over_and_trot(step: int) -> Action:
    """(12,) the whole task: off the back, up, and away."""
    return roll_over(step) if step < ON_ITS_FEET else trot(step - ON_ITS_FEET)
