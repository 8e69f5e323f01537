"""The staged reward of the A1, by hand: every gate, and what cannot be divided by."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.a1_joints import STANDING, angles
from sim.a1_reward import stages

UPRIGHT = np.eye(3)
STILL = np.zeros(3)
STAND = angles(STANDING)


def rolled(degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def turned(degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def pose(hip: float = 0.0, upper: float = -0.2, knee: float = 1.0) -> np.ndarray:
    return angles(np.tile([hip, upper, knee], 4))


def test_standing_still_gives_nine():
    found = stages(UPRIGHT, STAND, STILL)
    assert vars(found) == pytest.approx(
        {"up": 1, "hip": 1, "shoulder": 1, "knee": 1, "velocity": 0}
    )
    assert found.total == pytest.approx(9)


def test_lying_on_the_back_gives_five_whatever_else():
    assert stages(rolled(180), STAND, STILL).total == pytest.approx(5)
    assert stages(rolled(180), pose(1, 1, -1), np.array([9.0, 9, 9])).total == pytest.approx(5)


def test_walking_ahead_at_the_wanted_speed_gives_fourteen_and_no_more():
    assert stages(UPRIGHT, STAND, np.array([0.3, 0, 0])).total == pytest.approx(14)
    assert stages(UPRIGHT, STAND, np.array([3.0, 0, 0])).total == pytest.approx(14)


@pytest.mark.parametrize(
    ("degrees", "up", "hip"),
    [
        (0, 1, 1),
        (60, 0.75, 1),
        (66, (math.cos(math.radians(66)) + 1) / 2, 1),
        (67, None, 0),
        (90, 0.5, 0),
    ],
)
def test_hips_count_when_the_robot_is_nearly_upright(degrees, up, hip):
    """up = (cos + 1) / 2 exceeds 0.7 below 66.4 degrees."""
    found = stages(rolled(degrees), STAND, STILL)
    if up is not None:
        assert found.up == pytest.approx(up)
    assert found.hip == pytest.approx(hip)
    assert found.knee == pytest.approx(hip)


@pytest.mark.parametrize(
    ("hip", "expected", "shoulder"), [(0.25, 0.75, 1), (-0.25, 0.75, 1), (0.31, 0.69, 0)]
)
def test_shoulders_count_when_the_hips_are_nearly_right(hip, expected, shoulder):
    found = stages(UPRIGHT, pose(hip=hip), STILL)
    assert found.hip == pytest.approx(expected)
    assert found.shoulder == pytest.approx(shoulder)
    assert found.knee == pytest.approx(shoulder)
    assert found.total == pytest.approx(1 + expected + 2 * shoulder + 5)


@pytest.mark.parametrize(
    ("upper", "expected", "knee"), [(0.1, 0.75, 1), (-0.5, 0.75, 1), (0.2, 2 / 3, 0)]
)
def test_knees_count_when_the_shoulders_are_nearly_right(upper, expected, knee):
    """The farthest from -0.2 is 1: a deviation of 0.3 is a quarter."""
    found = stages(UPRIGHT, pose(upper=upper), STILL)
    assert found.shoulder == pytest.approx(expected)
    assert found.knee == pytest.approx(knee)


@pytest.mark.parametrize(
    ("knee", "expected", "velocity"), [(0.5, 0.75, 1), (0.3, 0.65, 0), (-1, 0, 0)]
)
def test_walking_counts_when_the_knees_are_nearly_right(knee, expected, velocity):
    """The farthest from 1 is -1: a deviation of 0.5 is a quarter."""
    found = stages(UPRIGHT, pose(knee=knee), np.array([0.3, 0, 0]))
    assert found.knee == pytest.approx(expected)
    assert found.velocity == pytest.approx(velocity)


def test_a_deviation_is_the_mean_over_four_legs_and_never_more_than_one():
    one_leg = np.tile([0.0, -0.2, 1.0], 4)
    one_leg[3] = -1.0  # the hip of the second leg: deviation 1 of 4
    assert stages(UPRIGHT, angles(one_leg), STILL).hip == pytest.approx(0.75)
    one_leg[3] = -1.5  # farther than any action asks for
    assert stages(UPRIGHT, angles(one_leg), STILL).hip == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("velocity", "expected"),
    [
        ([0.15, 0, 0], 0.5),
        ([-0.3, 0, 0], 0),
        ([0, 0.3, 0], 0),
        ([0.3, 0.4, 0], 0.6),  # all the speed, three fifths of the motion
        ([0.15, 0, 0.2], 0.6 * 0.5),  # hopping counts as motion
        ([0, 0, 0], 0),
    ],
)
def test_the_velocity_reward_by_hand(velocity, expected):
    found = stages(UPRIGHT, STAND, np.array(velocity, float))
    assert found.velocity == pytest.approx(expected)
    assert found.total == pytest.approx(9 + 5 * expected)


def test_ahead_is_where_the_robot_looks():
    assert stages(turned(90), STAND, np.array([0, 0.3, 0])).velocity == pytest.approx(1)
    assert stages(turned(90), STAND, np.array([0.3, 0, 0])).velocity == pytest.approx(0)
    assert stages(turned(180), STAND, np.array([-0.3, 0, 0])).velocity == pytest.approx(1)


def test_a_nose_in_the_air_has_a_heading_still():
    """Pitched by 30 degrees: the heading lies on the ground and has length 1."""
    c, s = math.cos(math.radians(30)), math.sin(math.radians(30))
    pitched = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    assert stages(pitched, STAND, np.array([0.3, 0, 0])).velocity == pytest.approx(1)


numbers = st.floats(-10, 10)


@given(
    st.lists(numbers, min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 1e-3),
    st.lists(numbers, min_size=12, max_size=12),
    st.lists(numbers, min_size=3, max_size=3),
)
def test_every_part_lies_between_nothing_and_one(quaternion, joints, velocity):
    w, x, y, z = np.array(quaternion) / np.linalg.norm(quaternion)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    found = stages(rotation, np.array(joints), np.array(velocity))
    assert all(-1e-9 <= part <= 1 + 1e-9 for part in vars(found).values())
    assert 5 - 1e-9 <= found.total <= 14 + 1e-9
