"""Every robot of the table keeps the contract, gymnasium's too, also with faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robot_client.robot import Reading, Robot
from robot_client.robots import ROBOTS, make_robot
from robot_client.robots.env import RobotEnv
from robot_client.testing import check_robot

GYM = ("gym:CartPole-v1", "gym:Pendulum-v1", "gym:FrozenLake-v1")
UNSEEDED = ("counting",)  # which never repeats itself
SEEDED = [name for name in ROBOTS if name not in UNSEEDED]
STEPS = 12
FAULTS = {
    "observation_delay": 2,
    "action_delay": 2,
    "noise": 0.02,
    "image_noise": 0.05,
    "drop": 0.2,
    "freeze": 0.1,
}


def play(robot: Robot, seed: int | None, between: Callable[[], object] = lambda: None) -> Any:
    """Readings and executed actions of one episode's beginning, under the same random actions."""
    robot.reset(seed)
    robot.action_space.seed(0)
    found: list[tuple[Reading, Any]] = [(robot.observe(), None)]
    for _ in range(STEPS):
        between()
        executed = robot.apply(np.asarray(robot.action_space.sample()))
        found.append((robot.observe(), executed))
    return found


def assert_same(left: Any, right: Any) -> None:
    """Bit for bit."""
    for t, ((a, sent), (b, also)) in enumerate(zip(left, right, strict=True)):
        differing = [key for key in a.obs if not np.array_equal(a.obs[key], b.obs[key])]
        assert (t, differing, a.reward) == (t, [], b.reward)
        assert (a.terminated, a.truncated) == (b.terminated, b.truncated)
        assert np.array_equal(sent, also)


@pytest.mark.parametrize("name", [*ROBOTS, *GYM])
def test_keeps_the_contract(name: str) -> None:
    check_robot(make_robot(name), seeded=name not in UNSEEDED)


@pytest.mark.parametrize("name", [*ROBOTS, *GYM])
def test_keeps_the_contract_with_all_faults(name: str) -> None:
    check_robot(make_robot(name, faults=FAULTS), seeded=name not in UNSEEDED)


@pytest.mark.parametrize("name", SEEDED)
def test_is_an_environment_to_gymnasium(name: str) -> None:
    check_env(RobotEnv(make_robot(name)), skip_render_check=True)


@pytest.mark.parametrize("name", SEEDED)
def test_is_an_environment_to_gymnasium_with_all_faults(name: str) -> None:
    check_env(RobotEnv(make_robot(name, faults=FAULTS)), skip_render_check=True)


@pytest.mark.filterwarnings("ignore:.*(infinity|symmetric and normalized)")  # their own bounds
@pytest.mark.parametrize("name", GYM)
def test_stays_an_environment_to_gymnasium(name: str) -> None:
    check_env(RobotEnv(make_robot(name)), skip_render_check=True)


@pytest.mark.parametrize("faults", [None, FAULTS], ids=["sound", "faulty"])
@pytest.mark.parametrize("name", SEEDED)
def test_a_seed_fixes_the_episode_whatever_went_before(name: str, faults: Any) -> None:
    robot, fresh = (make_robot(name, faults=faults) for _ in range(2))
    robot.connect()
    fresh.connect()
    first = play(robot, 5)
    play(robot, 6)
    play(robot, None)
    assert_same(first, play(robot, 5))
    assert_same(first, play(fresh, 5))
    robot.close()
    fresh.close()


@pytest.mark.parametrize("name", SEEDED)
def test_two_in_one_process_do_not_disturb_each_other(name: str) -> None:
    robot, other = make_robot(name), make_robot(name)
    robot.connect()
    alone = play(robot, 7)
    other.connect()
    other.reset(8)
    other.action_space.seed(1)

    def disturb() -> None:
        other.apply(np.asarray(other.action_space.sample()))
        other.observe()

    assert_same(alone, play(robot, 7, disturb))
    other.close()
    assert_same(alone, play(robot, 7))
    robot.close()


@pytest.mark.parametrize("name", ROBOTS)
def test_what_people_see_is_a_picture(name: str) -> None:
    robot = make_robot(name)
    if not hasattr(robot, "picture"):
        pytest.skip("has no picture()")
    env = RobotEnv(robot, render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    env.close()
    assert picture.dtype == np.uint8
    assert (picture.ndim, picture.shape[2]) == (3, 3)
    assert min(picture.shape[:2]) >= 128
    assert np.ptp(picture) > 50  # something is there
