import numpy as np
import pytest

from sim.pointmass import PIXELS, PointMass


def mean_return(dims, policy, episodes=100):
    robot = PointMass(dims)
    total = 0.0
    for seed in range(episodes):
        robot.reset(seed)
        for _ in range(robot.task.episode_steps or 0):
            robot.apply(policy(robot.observe().obs["vector"]))
            total += robot.observe().reward
    return total / episodes


@pytest.mark.parametrize(("dims", "chance", "mastery"), [(1, 13, 44), (2, 5, 42)])
def test_random_actions_and_a_spring_return_what_the_docstring_says(dims, chance, mastery):
    rng = np.random.default_rng(0)
    drifting = mean_return(dims, lambda _: rng.uniform(-1, 1, dims))
    driven = mean_return(dims, lambda v: np.clip(-3 * v[:dims] - 1.5 * v[dims:], -1, 1))
    assert drifting == pytest.approx(chance, abs=1.5)
    assert driven == pytest.approx(mastery, abs=1)


def test_the_reward_is_one_at_the_goal_and_falls_with_the_distance():
    robot = PointMass(dims=2)
    robot.reset(0)
    rewards, found = [], []
    for _ in range(40):
        vector = robot.observe().obs["vector"]
        robot.apply(np.clip(-6 * vector[:2] - 2.5 * vector[2:], -1, 1))
        rewards.append(robot.observe().reward)
        found.append(robot.observe().info["distance"])
    order = np.argsort(found)
    assert (np.diff(np.array(rewards)[order]) <= 0).all()
    assert rewards == pytest.approx(np.exp(-np.array(found) / 0.3))
    assert rewards[-1] > 0.95


def test_the_walls_stop_it():
    robot = PointMass(dims=1)
    robot.reset(0)
    for _ in range(40):
        robot.apply(np.ones(1, np.float32))
    assert robot.observe().obs["vector"].tolist() == [1, 0]


def test_the_first_push_moves_it_as_the_equations_say():
    robot = PointMass(dims=1)
    robot.reset(0)
    start = robot.observe().obs["vector"][0]
    robot.apply(np.array([0.5], np.float32))
    position, velocity = robot.observe().obs["vector"]
    assert velocity == pytest.approx(0.15)
    assert position == pytest.approx(start + 0.015)


@pytest.mark.parametrize("dims", [1, 2])
def test_the_picture_has_the_dot_where_the_point_is(dims):
    robot = PointMass(dims, camera=True)
    for seed in range(10):
        robot.reset(seed)
        obs = robot.observe().obs
        red = obs["camera"][..., 0]
        row, column = np.unravel_index(red.argmax(), red.shape)
        x, y = obs["vector"][0], obs["vector"][1] if dims == 2 else 0.0
        middle, scale = (PIXELS - 1) / 2, PIXELS / 2 - 2
        assert (column, row) == pytest.approx((middle + x * scale, middle - y * scale), abs=0.51)


def test_the_picture_shows_a_move_of_less_than_a_pixel():
    robot = PointMass(dims=1, camera=True)
    robot.reset(0)
    before = robot.observe().obs
    robot.apply(np.array([0.5], np.float32))
    after = robot.observe().obs
    assert abs(after["vector"][0] - before["vector"][0]) * PIXELS / 2 < 1
    assert not np.array_equal(before["camera"], after["camera"])


@pytest.mark.parametrize("dims", [0, 3])
def test_other_dimensions_are_refused(dims):
    with pytest.raises(ValueError, match="dims: expected 1 or 2"):
        PointMass(dims)
