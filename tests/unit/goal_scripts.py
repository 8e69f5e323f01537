"""Controllers written by hand for the goal tasks: their success shows that the tasks can be solved.

They see what a policy sees, the observation.
"""

import os

import numpy as np
import pybullet_data

from sim.engine import Engine
from sim.envs import push, reach


class Reacher:
    """Turns the joints towards the angles that inverse kinematics finds for the goal."""

    def __init__(self, obs):
        world = Engine()
        urdf = os.path.join(pybullet_data.getDataPath(), "kuka_iiwa", "model.urdf")
        arm = world.loadURDF(urdf, useFixedBase=True)
        for joint in reach.JOINTS:
            world.resetJointState(arm, joint, obs["observation"][joint])
        self.target = np.array(
            world.calculateInverseKinematics(
                arm, reach.HAND, obs["desired_goal"].tolist(), maxNumIterations=500
            )
        )
        world.disconnect()

    def __call__(self, obs):
        return np.clip(5 * (self.target - obs["observation"][:7]), -1, 1).astype(np.float32)


class Pusher:
    """Walks round the puck to the side away from the goal, then pushes."""

    BEHIND = push.PUCK_RADIUS + push.FINGER_RADIUS + 0.01
    AROUND = BEHIND + 0.02

    def __call__(self, obs):
        joints, finger = obs["observation"][:2], obs["observation"][4:6]
        puck, goal = obs["achieved_goal"], obs["desired_goal"]
        if np.linalg.norm(goal - puck) < 0.02:
            return np.zeros(2, np.float32)
        velocity = 6 * (self.waypoint(finger, puck, goal) - finger)
        speed = np.linalg.norm(velocity)
        velocity *= min(1, 0.3 / max(speed, 1e-6))
        return np.clip(np.linalg.solve(jacobian(joints), velocity) / push.MAX_SPEED, -1, 1).astype(
            np.float32
        )

    def waypoint(self, finger, puck, goal):
        way = (goal - puck) / np.linalg.norm(goal - puck)
        beside = finger - puck
        angle = np.arctan2(beside[0] * way[1] - beside[1] * way[0], -beside @ way)
        if abs(angle) < 0.25:  # behind the puck: on, and slower towards the goal
            return puck - way * (push.PUCK_RADIUS - min(0.05, np.linalg.norm(goal - puck)))
        turn = -np.sign(angle) * min(abs(angle), 0.6)
        unit = rotate(beside / np.linalg.norm(beside), turn)
        return puck + self.AROUND * unit


def rotate(vector, angle):
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]])


def jacobian(joints):
    """(2, 2): how the finger moves with shoulder and elbow."""
    both = joints[0] + joints[1]
    fore = push.FORE * np.array([-np.sin(both), np.cos(both)])
    upper = push.UPPER * np.array([-np.sin(joints[0]), np.cos(joints[0])])
    return np.stack([upper + fore, fore], 1)
