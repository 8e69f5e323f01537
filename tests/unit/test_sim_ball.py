from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from robot_client.errors import RobotError
from robot_client.robots import make_robot
from robot_client.robots.arena import GOAL, PIXELS
from sim.arena_world import BALL_COLOUR, GOAL_COLOUR, MAX_TORQUE, ArenaWorld
from sim.ball import Ball
from sim.variation import World

CENTRAL_START = 39  # a seed that puts the ball near the middle

Policy = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@pytest.fixture
def ball() -> Iterator[Ball]:
    ball = Ball("both")
    ball.connect()
    yield ball
    ball.close()


def spring(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Push towards the goal, and against the speed."""
    force = 2.0 * (GOAL - vector[:2]) - 1.0 * vector[2:]
    return np.clip(np.array([-force[1], force[0]], np.float32), -1, 1)


def distances(policy: Policy, seed: int) -> NDArray[np.float64]:
    """(100,) distances of one episode."""
    ball = Ball("vector")
    ball.connect()
    ball.reset(seed)
    found = []
    for _ in range(ball.task.episode_steps or 0):
        ball.apply(policy(np.asarray(ball.observe().obs["vector"])))
        found.append(ball.observe().info["distance"])
    ball.close()
    return np.array(found)


def pixels_like(picture: NDArray[np.uint8], colour: tuple[float, ...]) -> NDArray[np.bool_]:
    """(H, W): which pixels have the hue of `colour`, however shaded."""
    shade = picture / np.maximum(picture.sum(-1, keepdims=True), 1)
    hue = np.array(colour[:3]) / sum(colour[:3])
    return np.abs(shade - hue).max(-1) < 0.1


def centre_of(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean (x, y) of the marked pixels: pixel centres, y upwards, as shares of the picture."""
    rows, columns = np.nonzero(mask)
    return (columns.mean() + 0.5) / PIXELS, 1 - (rows.mean() + 0.5) / PIXELS


def test_a_spring_gets_there_and_random_actions_do_not():
    rng = np.random.default_rng(0)
    driven = [distances(spring, seed)[50:].mean() for seed in range(4)]
    drifting = [
        distances(lambda _: rng.uniform(-1, 1, 2).astype(np.float32), seed)[50:].mean()
        for seed in range(4)
    ]
    assert max(driven) < 0.1
    assert np.mean(drifting) > 4 * np.mean(driven)
    assert 0.3 < np.mean(drifting) < 0.7


def test_full_power_crosses_the_arena_in_about_two_seconds(ball):
    ball.reset(0)
    for _ in range(10):
        ball.apply(np.array([0, -1], np.float32))
    start = ball.observe().obs["vector"][0]
    assert start < 0.1
    steps = 0
    while ball.observe().obs["vector"][0] < 0.9:
        ball.apply(np.array([0, 1], np.float32))
        steps += 1
    assert steps in (4, 5)


@pytest.mark.parametrize(
    ("action", "axis", "sign"), [((0, 1), 0, 1), ((0, -1), 0, -1), ((1, 0), 1, -1), ((-1, 0), 1, 1)]
)
def test_the_torques_drive_where_the_docstring_says_also_once_the_ball_is_turned(
    ball, action, axis, sign
):
    ball.reset(CENTRAL_START)
    for _ in range(2):  # the second step starts with a ball that has rolled
        before = ball.observe().obs["vector"]
        ball.apply(np.array(action, np.float32))
        move = ball.observe().obs["vector"][:2] - before[:2]
        assert sign * move[axis] > 0.05
        assert abs(move[1 - axis]) < 0.005


def test_the_walls_hold_it(ball):
    ball.reset(2)
    for _ in range(15):
        ball.apply(np.array([1, 1], np.float32))
    x, y, *velocity = ball.observe().obs["vector"]
    assert (x, y) == pytest.approx((1 - 0.035 / 0.8, 0.035 / 0.8), abs=0.01)
    assert velocity == pytest.approx([0, 0], abs=1e-3)


def test_it_comes_to_rest(ball):
    ball.reset(3)
    ball.apply(np.array([0, 1], np.float32))
    for _ in range(8):
        ball.apply(np.zeros(2, np.float32))
    assert ball.observe().obs["vector"][2:] == pytest.approx([0, 0], abs=1e-6)


def test_the_reward_is_minus_the_distance_in_the_observation(ball):
    ball.reset(4)
    for _ in range(5):
        ball.apply(np.array([0.3, 0.4], np.float32))
        reading = ball.observe()
        expected = float(np.linalg.norm(reading.obs["vector"][:2] - GOAL))
        assert reading.reward == -expected
        assert reading.info["distance"] == expected


def test_episodes_start_at_rest_and_away_from_the_walls(ball):
    starts = []
    for seed in range(20):
        ball.reset(seed)
        starts.append(ball.observe().obs["vector"])
    starts = np.array(starts)
    assert ((starts[:, :2] > 0.14) & (starts[:, :2] < 0.86)).all()
    assert starts[:, 2:] == pytest.approx(0, abs=1e-3)
    assert (starts[:, :2].std(0) > 0.1).all()


def test_the_picture_shows_ball_and_goal_where_they_are(ball):
    for seed in range(5):
        ball.reset(seed)
        reading = ball.observe()
        position = reading.obs["vector"][:2]
        picture = reading.obs["camera"]
        assert reading.info["distance"] > 0.1, "this seed covers the goal: take another"
        seen, goal = pixels_like(picture, BALL_COLOUR), pixels_like(picture, GOAL_COLOUR)
        assert seen.sum() >= 15
        assert goal.sum() >= 25
        assert centre_of(seen) == pytest.approx(tuple(position * 0.95 + 0.025), abs=0.03)
        assert centre_of(goal) == pytest.approx(tuple(GOAL * 0.95 + 0.025), abs=0.03)


def test_the_ball_is_seen_on_top_of_the_goal():
    ball = Ball("both")
    ball.connect()
    ball.reset(0)
    for _ in range(60):
        ball.apply(spring(np.asarray(ball.observe().obs["vector"])))
    assert ball.observe().info["distance"] < 0.06
    assert pixels_like(ball.observe().obs["camera"], BALL_COLOUR).sum() >= 15
    ball.close()


@pytest.mark.parametrize(
    ("observe", "keys"),
    [("vector", {"vector"}), ("camera", {"camera"}), ("both", {"vector", "camera"})],
)
def test_it_observes_what_was_asked_for_and_moves_the_same(observe, keys):
    ball = Ball(observe)
    ball.connect()
    ball.reset(9)
    ball.apply(np.array([0.5, 0.5], np.float32))
    reading = ball.observe()
    assert set(reading.obs) == set(ball.observation_space.spaces) == keys
    assert reading.info["distance"] == distances(lambda _: np.full(2, 0.5, np.float32), 9)[0]
    ball.close()


def test_the_camera_is_there_for_an_operator_in_vector_mode_too():
    vector, both = Ball("vector"), Ball("both")
    for ball in (vector, both):
        ball.connect()
        ball.reset(9)
    assert np.array_equal(vector.camera(), both.observe().obs["camera"])
    vector.close()
    both.close()


def test_an_unknown_observation_is_refused():
    with pytest.raises(ValueError, match=r"observe: expected one of .*got 'lidar'"):
        Ball("lidar")


def test_it_wants_to_be_connected_first():
    with pytest.raises(RobotError, match="not connected"):
        Ball().reset()
    with pytest.raises(RobotError, match="not connected"):
        Ball().camera()


def test_connecting_writes_nothing_to_standard_output(capfd):
    ball = Ball()
    ball.connect()
    ball.reset(0)
    ball.close()
    assert capfd.readouterr().out == ""


def path(seed: int, steps: int = 6, **vary: float) -> NDArray[np.float32]:
    """(steps, 4) states of a ball that coasts after one push."""
    ball = Ball("vector", vary=vary)
    ball.connect()
    ball.reset(seed)
    found = []
    for step in range(steps):
        ball.apply(np.array([0, 0.5 if step == 0 else 0], np.float32))
        found.append(np.asarray(ball.observe().obs["vector"]))
    ball.close()
    return np.array(found)


def test_nothing_varies_unasked_and_a_variation_of_nothing_is_none():
    assert np.array_equal(path(9), path(9, mass=0.0, friction=0.0, light=0.5, sunrise_s=60.0))


@pytest.mark.parametrize("vary", ["mass", "friction"])
def test_the_ball_of_a_varied_world_rolls_otherwise_and_a_seed_fixes_how(vary):
    assert not np.allclose(path(9, **{vary: 0.5}), path(9), atol=1e-4)
    assert np.array_equal(path(9, **{vary: 0.5}), path(9, **{vary: 0.5}))


@pytest.mark.parametrize(("factor", "speed"), [(0.5, 2.0), (1.6, 1 / 1.6)])
def test_a_push_speeds_a_ball_up_by_the_inverse_of_its_mass(factor, speed):
    found = []
    for mass in (1.0, factor):
        world = ArenaWorld("ball")
        world.connect()
        world.build(np.array([0.5, 0.5]))
        world.vary(World(mass=mass))
        world.roll(0.1, lambda: (0.0, MAX_TORQUE / 2))
        found.append(world.state()[2])
        world.close()
    assert found[1] / found[0] == pytest.approx(speed, rel=0.15)  # friction grows with the mass


def test_more_friction_stops_a_rolling_ball_sooner():
    found = []
    for friction in (0.5, 1.0, 1.5):
        world = ArenaWorld("ball")
        world.connect()
        world.build(np.array([0.2, 0.5]))
        world.vary(World(friction=friction))
        world.roll(0.5, lambda: (0.0, MAX_TORQUE / 2))
        world.roll(2.0)
        found.append(float(world.state()[0]))
        world.close()
    assert found[0] > found[1] + 0.01 > found[2] + 0.02


def test_the_sun_rises_from_connect_on_whatever_is_reset():
    ball = Ball("camera", vary={"sunrise_s": 10.0})
    ball.connect()
    shades = []
    for step in range(18):  # 9 s, and 0.25 s for each reset
        if step % 6 == 0:
            ball.reset(1)
        ball.apply(np.zeros(2, np.float32))
        shades.append(ball.camera().mean((0, 1)))
    ball.close()
    shades = np.array(shades)
    assert (np.diff(shades[:, 0]) > 0).all()
    assert shades[0].sum() < 0.4 * shades[-1].sum()
    assert shades[0, 2] > 1.2 * shades[0, 0]  # blue before dawn
    assert shades[8, 0] > 1.2 * shades[8, 2]  # orange at it


def test_the_light_of_episodes_differs_when_asked_to():
    ball = Ball("camera", vary={"light": 0.8})
    ball.connect()
    shades = []
    for seed in range(4):
        ball.reset(seed)
        shades.append(ball.camera()[:4].mean())
    ball.close()
    assert np.ptp(shades) > 10


@pytest.mark.parametrize("vary", [{"mass": 1.0}, {"light": -0.1}, {"weight": 0.5}])
def test_a_variation_that_makes_no_sense_is_refused(vary):
    with pytest.raises((ValueError, TypeError), match=r"mass|light|weight"):
        Ball(vary=vary)
    with pytest.raises(RobotError, match=r"mass|light|weight"):
        make_robot("ball", vary=vary)


def test_the_view_for_people_is_the_cameras_in_any_size():
    ball = Ball("vector")
    ball.connect()
    ball.reset(0)
    assert np.array_equal(ball.picture(64), ball.camera())
    assert ball.picture().shape == (256, 256, 3)
    ball.close()
