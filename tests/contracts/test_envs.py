"""What holds for every environment of `sim.envs`."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robot_client.robots import make_robot
from robot_client.testing import check_robot
from sim import envs

STEPS = 40


@pytest.fixture(params=envs.ENVS)
def env_id(request):
    envs.register()
    return envs.NAMESPACE + request.param


def rollout(env, seed, steps=STEPS):
    """Observations, rewards and ends, flat; a new episode begins where one ends."""
    rng = np.random.default_rng(0)
    found = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        obs, *rest, _ = env.step(rng.integers(env.action_space.n))
        found += [obs, *rest]
        if rest[1] or rest[2]:
            found.append(env.reset()[0])
    return found


def same(left, right):
    """Bit for bit."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return np.array_equal(left, right)


def test_gymnasiums_checker_finds_nothing(env_id):
    check_env(gymnasium.make(env_id).unwrapped)


def test_keeps_the_contract_of_robots_by_its_name(env_id):
    check_robot(make_robot(f"gym:{env_id}"))


def test_a_seed_fixes_the_episodes_whatever_went_before(env_id):
    env, fresh = gymnasium.make(env_id), gymnasium.make(env_id)
    first = rollout(env, seed=5)
    rollout(env, seed=6)
    assert same(first, rollout(env, seed=5))
    assert same(first, rollout(fresh, seed=5))


def test_two_in_one_process_do_not_disturb_each_other(env_id):
    env, other = gymnasium.make(env_id), gymnasium.make(env_id)
    alone = rollout(env, seed=7, steps=12)
    rng, together = np.random.default_rng(0), [env.reset(seed=7)[0]]
    other.reset(seed=8)
    for _ in range(12):
        obs, *rest, _ = env.step(rng.integers(env.action_space.n))
        if any(other.step(0)[2:4]):
            other.reset()
        together += [obs, *rest]
        if rest[1] or rest[2]:
            together.append(env.reset()[0])
    assert same(alone, together)


def test_an_observation_does_not_change_when_the_world_moves_on(env_id):
    env = gymnasium.make(env_id)
    kept = [np.array(part) for part in _parts(env.reset(seed=1)[0])]
    env.reset(seed=1)
    obs = env.reset(seed=1)[0]
    for action in (0, 1, 0, 1):
        if any(env.step(action)[2:4]):
            break
    assert same(kept, _parts(obs))


def _parts(obs):
    return list(obs.values()) if isinstance(obs, dict) else [obs]


def test_its_picture_is_of_a_size_for_people_and_shows_what_happens(env_id):
    env = gymnasium.make(env_id, render_mode="rgb_array")
    env.reset(seed=3)
    before = env.render()
    assert before.dtype == np.uint8
    assert before.shape[2] == 3
    assert 200 <= max(before.shape[:2]) <= 340
    pictures = []
    for action in range(min(4, int(env.action_space.n))):
        env.step(action)
        pictures.append(env.render())
    assert any(not np.array_equal(before, picture) for picture in pictures)


def test_without_a_render_mode_there_is_no_picture(env_id):
    env = gymnasium.make(env_id).unwrapped
    env.reset(seed=3)
    assert env.render() is None


def test_another_render_mode_is_refused(env_id):
    spec = gymnasium.spec(env_id)
    module, _, name = spec.entry_point.partition(":")
    cls = getattr(__import__(module, fromlist=[name]), name)
    with pytest.raises(ValueError, match="render_mode"):
        cls(**spec.kwargs, render_mode="human")
