"""The arm that is driven by torques."""

from __future__ import annotations

import numpy as np
import pytest

from robot_client.errors import RobotError
from sim.torque_arm import GOAL, LINK, TorqueArm, _acceleration


def play(arm: TorqueArm, torques: np.ndarray) -> float:
    arm.reset(seed=3)
    total = 0.0
    for torque in torques:
        arm.apply(torque)
        total += arm.observe().reward
    return total


def energy(joints: np.ndarray, speeds: np.ndarray) -> float:
    """Of two rods of 1 kg, by the speeds of their centres."""
    total = 0.0
    tip, angle, turning = np.zeros(2), 0.0, 0.0
    for bend, speed in zip(joints, speeds, strict=True):
        angle, turning = angle + bend, turning + speed
        across = LINK / 2 * turning * np.array([-np.sin(angle), np.cos(angle)])
        centre = tip + across
        total += 0.5 * centre @ centre + 0.5 * LINK**2 / 12 * turning**2
        tip = tip + 2 * across
    return float(total)


def test_returns_are_those_it_tells_of() -> None:
    arm, rng = TorqueArm(), np.random.default_rng(0)
    assert play(arm, np.zeros((40, 2))) == pytest.approx(-55.6, abs=0.1)
    found = [play(arm, rng.uniform(-1, 1, (40, 2))) for _ in range(30)]
    assert np.mean(found) == pytest.approx(-54.5, abs=2)


def test_a_stiff_controller_comes_near_the_goal() -> None:
    arm = TorqueArm()
    arm.reset()
    elbow = np.arccos((np.square(GOAL).sum() - 2 * LINK**2) / (2 * LINK**2))
    reach = np.arctan2(LINK * np.sin(elbow), LINK * (1 + np.cos(elbow)))
    wanted = np.array([np.arctan2(GOAL[1], GOAL[0]) - reach, elbow])
    for _ in range(40):
        seen = arm.observe().obs
        arm.apply(np.clip(8 * (wanted - seen["joints"]) - 2 * seen["speeds"], -1, 1))
    assert arm.observe().info["distance"] < 0.1


def test_without_torque_and_damping_it_keeps_its_energy() -> None:
    joints, speeds, energies = np.array([0.2, 0.7]), np.array([1.0, -2.0]), []
    for _ in range(2000):
        speeds = speeds + 1e-4 * _acceleration(joints, speeds, 0.3 * speeds)  # undoes the damping
        joints = joints + 1e-4 * speeds
        energies.append(energy(joints, speeds))
    assert np.ptp(energies) < 1e-3 * energies[0]


def test_what_is_no_torque_is_refused() -> None:
    arm = TorqueArm()
    with pytest.raises(RobotError, match="reset it first"):
        arm.apply(np.zeros(2))
    arm.reset()
    for wrong in (np.zeros(3), np.array([np.nan, 0.0])):
        with pytest.raises(RobotError, match="expected 2 finite numbers"):
            arm.apply(wrong)
