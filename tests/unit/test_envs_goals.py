"""The goal tasks: reaching and pushing."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robot_client.robots import make_robot
from robot_client.testing import check_robot
from sim.envs import register
from tests.unit.goal_scripts import Pusher, Reacher

TASKS = ("Reach", "Push")
IDS = [f"dreamfleet/{task}{kind}-v0" for task in TASKS for kind in ("", "Sparse")]
SCRIPTS = {"Reach": Reacher, "Push": lambda obs: Pusher()}


@pytest.fixture(autouse=True)
def registered():
    register()


def rollout(env, seed, steps=15):
    obs, info = env.reset(seed=seed)
    found = [(obs, 0.0, info)]
    rng = np.random.default_rng(0)
    for _ in range(steps):
        obs, reward, _, _, info = env.step(rng.uniform(-1, 1, env.action_space.shape))
        found.append((obs, reward, info))
    return found


def same(left, right):
    return all(
        a[1] == b[1] and all(np.array_equal(a[0][k], b[0][k]) for k in a[0])
        for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("env_id", IDS)
def test_it_keeps_both_contracts(env_id):
    check_robot(make_robot(f"gym:{env_id}"))
    env = gymnasium.make(env_id, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.close()


@pytest.mark.parametrize("task", TASKS)
def test_a_script_that_sees_what_a_policy_sees_solves_it(task):
    env = gymnasium.make(f"dreamfleet/{task}Sparse-v0")
    for seed in range(6):
        obs, info = env.reset(seed=seed)
        assert not info["is_success"]
        act, truncated, rewards = SCRIPTS[task](obs), False, []
        while not truncated:
            obs, reward, terminated, truncated, info = env.step(act(obs))
            rewards.append(reward)
            assert not terminated
        assert info["distance"] < 0.025
        assert rewards[0] == -1
        assert rewards[-1] == 0
    env.close()


@pytest.mark.parametrize("task", TASKS)
def test_actions_at_random_do_not_solve_it(task):
    env = gymnasium.make(f"dreamfleet/{task}-v0")
    ends = [rollout(env, seed, steps=40)[-1][2]["distance"] for seed in range(6)]
    assert np.median(ends) > 0.1
    env.close()


@pytest.mark.parametrize("env_id", IDS)
def test_a_step_pays_what_compute_reward_says(env_id):
    env = gymnasium.make(env_id).unwrapped
    found = rollout(env, seed=2)[1:]
    achieved, desired = (
        np.stack([obs[key] for obs, *_ in found]) for key in ("achieved_goal", "desired_goal")
    )
    rewards = env.compute_reward(achieved, desired, [info for *_, info in found])
    assert rewards.dtype == np.float32
    assert rewards.tolist() == [reward for _, reward, _ in found]
    assert env.compute_reward(achieved[0], achieved[0], {}) == 0
    env.close()


def test_rewards_by_hand():
    dense, sparse = (
        gymnasium.make(f"dreamfleet/Push{kind}-v0").unwrapped for kind in ("", "Sparse")
    )
    achieved = np.array([[[0, 0], [0.3, 0.4]], [[0.04, 0], [0, 0.06]]])  # a batch of 2 x 2
    desired = np.zeros(2)
    assert np.allclose(dense.compute_reward(achieved, desired, {}), [[0, -0.5], [-0.04, -0.06]])
    assert sparse.compute_reward(achieved, desired, {}).tolist() == [[0, -1], [0, -1]]
    assert not sparse.compute_terminated(achieved[0, 0], desired, {})
    assert not sparse.compute_truncated(achieved[0, 0], desired, {})


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_fixes_the_episode_and_two_do_not_disturb_each_other(task):
    one, two = (gymnasium.make(f"dreamfleet/{task}-v0") for _ in range(2))
    first = rollout(one, seed=5)
    other = rollout(one, seed=6)
    two.reset(seed=9)
    again = rollout(one, seed=5)
    two.step(np.ones(two.action_space.shape, np.float32))
    assert same(first, again)
    assert same(first, rollout(two, seed=5))
    assert not same(first, other)
    one.close()
    two.close()


@pytest.mark.parametrize("task", TASKS)
def test_what_is_achieved_is_part_of_what_is_observed(task):
    env = gymnasium.make(f"dreamfleet/{task}-v0")
    part = slice(14, 17) if task == "Reach" else slice(6, 8)
    for obs, *_ in rollout(env, seed=1):
        assert np.array_equal(obs["observation"][part], obs["achieved_goal"])
        assert env.observation_space.contains(obs)
    env.close()


def test_the_picture_shows_the_goal():
    env = gymnasium.make("dreamfleet/Reach-v0", render_mode="rgb_array")
    env.reset(seed=0)
    red, green, blue = np.moveaxis(env.render().astype(int), -1, 0)
    assert ((green > 100) & (red < green // 2) & (blue < green // 2)).sum() > 50
    env.close()


def test_a_step_before_the_first_reset_is_refused():
    env = gymnasium.make("dreamfleet/Push-v0").unwrapped
    with pytest.raises(gymnasium.error.ResetNeeded, match="Push"):
        env.step(np.zeros(2, np.float32))
