"""What holds for every simulated robot, in each of its forms."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from gymnasium import spaces

from robot_client.errors import RobotError
from robot_client.robot import Action, Reading, Robot
from robot_client.schema import row_fields, space_from_json, space_to_json
from sim.a1 import A1
from sim.ball import Ball
from sim.pointmass import PointMass
from sim.sphero import Sphero
from sim.ur5 import Ur5
from sim.xarm import XArm

FORMS: dict[str, Callable[[], Robot]] = {
    "a1": lambda: A1(),
    "a1-pushed-on-hills": lambda: A1("random", terrain=0.05, push_n=40.0, vary={"mass": 0.2}),
    "ball-vector": lambda: Ball("vector"),
    "ball-camera": lambda: Ball("camera"),
    "ball-both": lambda: Ball("both"),
    "pointmass-1": lambda: PointMass(dims=1),
    "pointmass-2": lambda: PointMass(dims=2),
    "pointmass-camera": lambda: PointMass(dims=2, camera=True),
    "sphero": Sphero,
    "ur5": lambda: Ur5(),
    "xarm": lambda: XArm(),
}


@pytest.fixture(params=FORMS)
def make(request: pytest.FixtureRequest) -> Callable[[], Robot]:
    return FORMS[request.param]


@pytest.fixture
def robot(make: Callable[[], Robot]) -> Iterator[Robot]:
    robot = make()
    robot.connect()
    yield robot
    robot.stop()
    robot.close()


def drawn(robot: Robot, rng: np.random.Generator) -> Action:
    if isinstance(robot.action_space, spaces.Discrete):
        return np.asarray(rng.integers(robot.action_space.n))
    return rng.uniform(-1, 1, robot.action_space.shape).astype(np.float32)


def filled(robot: Robot, value: float) -> Action:
    """Every number of a Box's action, or the action of a Discrete, nearest to a value."""
    if isinstance(robot.action_space, spaces.Discrete):
        return np.asarray(max(0, int(value)))
    return np.full(robot.action_space.shape, value, np.float32)


def rollout(robot: Robot, seed: int | None, steps: int = 12) -> list[Reading]:
    robot.reset(seed)
    rng = np.random.default_rng(0)
    readings = [robot.observe()]
    for _ in range(steps):
        robot.apply(drawn(robot, rng))
        readings.append(robot.observe())
    return readings


def same(left: list[Reading], right: list[Reading]) -> bool:
    """Bit for bit."""
    return all(
        a.reward == b.reward and all(np.array_equal(a.obs[k], b.obs[k]) for k in a.obs)
        for a, b in zip(left, right, strict=True)
    )


def test_speaks_the_protocol_and_declares_spaces_that_travel(make):
    robot = make()
    assert isinstance(robot, Robot)
    assert robot.control_hz > 0
    assert robot.task.episode_steps
    row_fields(robot.observation_space, robot.action_space)
    for space in (robot.observation_space, robot.action_space):
        assert space_from_json(space_to_json(space)) == space


def test_every_reading_is_in_the_declared_space(robot):
    for reading in rollout(robot, seed=1, steps=60):
        assert robot.observation_space.contains(dict(reading.obs))
        assert np.isfinite(reading.reward)
        assert not reading.terminated
        assert not reading.truncated


def test_the_first_reading_of_each_episode_has_no_reward(robot):
    for seed in (1, 2):
        first, second, *_ = rollout(robot, seed, steps=2)
        assert first.reward == 0
        assert second.reward != 0 or robot.task.name.endswith("pick-place")  # seldom rewarded


def test_observing_twice_gives_the_same_reading(robot):
    robot.reset(3)
    robot.apply(filled(robot, 1))
    assert same([robot.observe()], [robot.observe()])


def test_a_reading_does_not_change_when_the_robot_moves_on(robot):
    robot.reset(3)
    reading = robot.observe()
    before = {key: value.copy() for key, value in reading.obs.items()}
    for _ in range(5):
        robot.apply(filled(robot, 1))
        robot.observe()
    assert all(np.array_equal(reading.obs[key], before[key]) for key in before)


def test_a_seed_fixes_the_episode_whatever_went_before(make, robot):
    first = rollout(robot, seed=5)
    other = rollout(robot, seed=6)
    again = rollout(robot, seed=5)
    fresh = make()
    fresh.connect()
    assert same(first, again)
    assert same(first, rollout(fresh, seed=5))
    assert not same(first, other)
    fresh.close()


def test_episodes_without_a_seed_differ_and_follow_from_the_last_seed(robot):
    rollout(robot, seed=5)
    second = rollout(robot, seed=None)
    third = rollout(robot, seed=None)
    rollout(robot, seed=5)
    assert same(second, rollout(robot, seed=None))
    assert not same(second, third)


def test_two_in_one_process_do_not_disturb_each_other(make, robot):
    alone = rollout(robot, seed=7)
    other = make()
    other.connect()
    robot.reset(7)
    other.reset(8)
    rng = np.random.default_rng(0)
    together = [robot.observe()]
    for _ in range(12):
        robot.apply(drawn(robot, rng))
        other.apply(filled(other, -1))
        together.append(robot.observe())
    other.close()
    assert same(alone, together)


def test_apply_returns_what_was_sent_after_clipping(robot):
    robot.reset(1)
    sent = robot.apply(filled(robot, 3))
    assert sent.dtype == robot.action_space.dtype
    assert sent == 3 if isinstance(robot.action_space, spaces.Discrete) else (sent == 1).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_action_that_is_not_finite_is_refused_and_moves_nothing(robot, value):
    robot.reset(1)
    before = robot.observe()
    with pytest.raises(RobotError, match=r"finite|whole number"):
        robot.apply(np.full(robot.action_space.shape, value, np.float32))
    assert same([before], [robot.observe()])


def test_an_action_of_another_shape_is_refused(robot):
    robot.reset(1)
    with pytest.raises(RobotError, match=r"finite numbers|whole number"):
        robot.apply(np.zeros(3, np.float32))


def test_nothing_works_before_the_first_reset(robot):
    with pytest.raises(RobotError, match="reset"):
        robot.observe()
    with pytest.raises(RobotError, match="reset"):
        robot.apply(filled(robot, 0))


def test_stop_and_close_are_allowed_at_any_time(make):
    robot = make()
    robot.stop()
    robot.close()
    robot.connect()
    robot.stop()
    robot.stop()
    robot.reset(0)
    robot.stop()
    robot.close()
    robot.close()
    robot.stop()


def test_it_can_be_connected_again(make):
    robot = make()
    robot.connect()
    first = rollout(robot, seed=4)
    robot.close()
    robot.connect()
    assert same(first, rollout(robot, seed=4))
    robot.close()


def test_people_get_a_picture_of_any_size_that_shows_the_robot_move(robot):
    robot.reset(1)
    before = robot.picture(96)
    for _ in range(6):
        robot.apply(filled(robot, 0.7))
    after = robot.picture(96)
    assert before.shape == after.shape == (96, 96, 3)
    assert before.dtype == np.uint8
    assert not np.array_equal(before, after)
    assert robot.picture().shape == (256, 256, 3)
