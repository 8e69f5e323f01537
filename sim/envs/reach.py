"""A seven-joint arm that must bring its hand to a point: TDM's reacher, with a KUKA iiwa."""

from __future__ import annotations

import os

import numpy as np
import pybullet_data
from gymnasium import spaces
from numpy.typing import NDArray

from sim.engine import Camera, Engine
from sim.envs.goals import RENDER_PIXELS, GoalEnv, Numbers, draw_far, mark

JOINTS = range(7)
HAND = 6  # the link of the last joint
HOME = np.array([0.0, 0.5, 0.0, -1.4, 0.0, 1.2, 0.0])  # rad: the hand in front, at half height
SPREAD = 0.2  # rad: the start differs from it by at most so much
LIMITS = np.array([2.967, 2.094, 2.967, 2.094, 2.967, 2.094, 3.054])  # rad, of the URDF
MAX_SPEED = 1.5  # rad/s at an action of 1
MAX_TORQUE = 300.0  # N m, of the URDF

GOALS = spaces.Box(np.array([0.35, -0.3, 0.2], np.float32), np.array([0.65, 0.3, 0.7], np.float32))
FARTHER = 0.1  # m: no goal is nearer to the hand's start


class Reach(GoalEnv):
    """Bring the hand to a point in front of the arm, half a metre high and wide.

    The action (7,) in [-1, 1] is the joints' velocities, in shares of 1.5 rad/s. `observation`
    (17,) is the joints' angles (rad), their velocities (rad/s) and the hand's position (m); the
    goals (3,) are positions of the hand.

    Args:
        sparse: the reward is 0 within 5 cm and -1 elsewhere, instead of minus the distance (m).
        render_mode: `rgb_array` or nothing.
    """

    CAMERA = Camera((1.5, -1.1, 1.1), (0.25, 0.0, 0.4), view_deg=50, pixels=RENDER_PIXELS)

    def __init__(self, sparse: bool = False, render_mode: str | None = None) -> None:
        high = np.concatenate([LIMITS + 0.2, np.full(7, 10.0), np.full(3, 2.0)]).astype(np.float32)
        observed = spaces.Box(-high, high, dtype=np.float32)
        super().__init__(observed, GOALS, len(JOINTS), sparse=sparse, render_mode=render_mode)
        self._arm = -1  # its body

    def _build(self, world: Engine, rng: np.random.Generator) -> Numbers:
        urdf = os.path.join(pybullet_data.getDataPath(), "kuka_iiwa", "model.urdf")
        self._arm = world.loadURDF(urdf, useFixedBase=True)
        for joint, angle in zip(JOINTS, HOME + rng.uniform(-SPREAD, SPREAD, 7), strict=True):
            world.resetJointState(self._arm, joint, angle)
        goal = draw_far(rng, GOALS, self._hand(world), FARTHER)
        mark(world, (goal[0], goal[1], goal[2]), 0.03)
        return goal

    def _drive(self, world: Engine, action: NDArray[np.float64]) -> None:
        world.setJointMotorControlArray(
            self._arm,
            JOINTS,
            world.VELOCITY_CONTROL,
            targetVelocities=action * MAX_SPEED,
            forces=[MAX_TORQUE] * 7,
        )

    def _observe(self, world: Engine) -> tuple[list[float], list[float]]:
        states = world.getJointStates(self._arm, JOINTS)
        angles, velocities = ([state[i] for state in states] for i in (0, 1))
        hand = self._hand(world).tolist()
        return angles + velocities + hand, hand

    def _hand(self, world: Engine) -> NDArray[np.float64]:
        # without being asked, PyBullet tells where the link was one physics step before
        state = world.getLinkState(self._arm, HAND, computeForwardKinematics=True)
        return np.array(state[4])
