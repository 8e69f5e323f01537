"""The Sphero in simulation: what the camera tells and hides, and that the task can be done."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from robot_client.errors import RobotError
from robot_client.robots.arena import GOAL
from sim.sphero import LOOK, TURN_RATE, Sphero

CENTRAL = 6  # a seed whose reset leaves the ball away from the walls


@pytest.fixture
def sphero() -> Iterator[Sphero]:
    sphero = Sphero()
    sphero.connect()
    yield sphero
    sphero.close()


def steer(sphero: Sphero) -> NDArray[np.float32]:
    """Turn towards where a damped spring pulls, forwards or backwards, and drive there."""
    x, y, heading = sphero.pose()
    velocity = sphero._world.state()[2:]
    want = 2.0 * (GOAL - [x, y]) - 1.0 * velocity
    angle = math.remainder(math.atan2(want[1], want[0]) - heading, math.pi)
    ahead = want @ [math.cos(heading), math.sin(heading)]
    turn = float(np.clip(angle / (TURN_RATE / sphero.control_hz), -1, 1))
    drive = float(np.clip(ahead, abs(turn) - 1, 1 - abs(turn)))
    return np.array([drive - turn, drive + turn], np.float32)


def random(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.uniform(-1, 1, 2).astype(np.float32)


def test_who_knows_the_heading_drives_to_the_goal_and_random_powers_do_not(sphero: Sphero) -> None:
    rng, driven, drifting = np.random.default_rng(0), [], []
    for seed in range(4):
        for found, choose in ((driven, lambda: steer(sphero)), (drifting, lambda: random(rng))):
            sphero.reset(seed)
            for _ in range(100):
                sphero.apply(choose())
                found.append(sphero.observe().reward)
            if found is driven:
                assert sphero.observe().info["success"]
    assert np.mean(driven) > -0.1
    assert np.mean(drifting) < -0.3


def test_the_cameras_centroid_is_the_true_position(sphero: Sphero) -> None:
    rng, errors = np.random.default_rng(1), []
    for seed in range(4):
        sphero.reset(seed)
        for _ in range(25):
            sphero.apply(random(rng))
            reading = sphero.observe()
            found = LOOK.position(reading.obs["camera"])
            assert found is not None
            errors.append(found - sphero.pose()[:2])
            assert reading.reward == -float(np.linalg.norm(found - GOAL))
    assert np.abs(errors).max() < 0.008  # half a pixel
    assert np.abs(np.mean(errors, 0)).max() < 0.002


@pytest.mark.parametrize("vary", [{"sunrise_s": 60.0}, {"light": 0.7}])
def test_the_ball_is_found_in_any_light(vary: dict[str, float]) -> None:
    sphero = Sphero(vary)
    sphero.connect()
    rng = np.random.default_rng(2)
    for _ in range(6):
        sphero.reset()
        for _ in range(12):
            sphero.apply(random(rng))
            reading = sphero.observe()
            x, y, _ = sphero.pose()
            assert reading.info["seen"]
            assert reading.reward == pytest.approx(-math.dist((x, y), GOAL), abs=0.015)
    sphero.close()


def test_the_heading_is_not_in_the_observation(sphero: Sphero) -> None:
    sphero.reset(CENTRAL)
    before, (x, y, heading) = sphero.observe(), sphero.pose()
    sphero.apply(np.array([-0.6, 0.6], np.float32))  # turns on the spot
    after, pose = sphero.observe(), sphero.pose()
    assert pose == pytest.approx((x, y, math.remainder(heading + 0.3 * TURN_RATE, math.tau)))
    assert set(after.obs) == {"camera"}
    assert np.array_equal(before.obs["camera"], after.obs["camera"])
    assert set(after.info) == {"distance", "success", "seen"}


@pytest.mark.parametrize(("power", "sign"), [(0.4, 1), (-0.4, -1)])
def test_equal_powers_roll_the_way_it_faces(sphero: Sphero, power: float, sign: int) -> None:
    sphero.reset(CENTRAL)
    x, y, heading = sphero.pose()
    sphero.apply(np.full(2, power, np.float32))
    now = sphero.pose()
    moved = np.array([now[0] - x, now[1] - y])
    ahead = np.array([math.cos(heading), math.sin(heading)])
    assert sign * moved @ ahead > 0.02
    assert abs(moved @ [-ahead[1], ahead[0]]) < 1e-3
    assert now[2] == pytest.approx(heading)


def test_the_stronger_motor_is_on_the_outside_of_the_curve(sphero: Sphero) -> None:
    sphero.reset(CENTRAL)
    heading = sphero.pose()[2]
    sphero.apply(np.array([0.0, 1.0], np.float32))  # the right one: to the left
    turned = math.remainder(sphero.pose()[2] - heading, math.tau)
    assert turned == pytest.approx(TURN_RATE / 4)


def test_a_reset_without_a_seed_goes_on_from_where_the_ball_is(
    sphero: Sphero, monkeypatch: pytest.MonkeyPatch
) -> None:
    sphero.reset(0)
    monkeypatch.setattr("robot_client.robots.arena.RESET_MOVES", 0)
    for _ in range(3):
        sphero.apply(np.zeros(2, np.float32))
    before = sphero.pose()
    sphero.reset()
    assert sphero.pose() == pytest.approx(before)  # no move, no teleport
    monkeypatch.undo()
    sphero.reset()
    assert math.dist(sphero.pose()[:2], before[:2]) > 0.05
    sphero.reset(1)
    assert math.dist(sphero.pose()[:2], before[:2]) > 0.05


def test_a_reset_leaves_the_ball_at_rest(sphero: Sphero) -> None:
    for seed in range(4):
        sphero.reset(seed)
        assert np.abs(sphero._world.state()[2:]).max() < 1e-3


def test_it_wants_to_be_connected_and_reset() -> None:
    sphero = Sphero()
    with pytest.raises(RobotError, match="sphero: not connected"):
        sphero.reset()
    sphero.connect()
    with pytest.raises(RobotError, match="sphero: reset it first"):
        sphero.picture()
    sphero.close()
