"""The quadrotor and the cart-pole: rest, falls, energy, and rewards that are what they declare."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest

from robot_client.robots import make_robot
from robot_client.testing import check_robot
from sim import envs
from sim.envs.cartpole_swingup import CART, GRAVITY, LENGTH, POLE, CartPoleSwingUp
from sim.envs.quadrotor import FALLEN, Quadrotor, _slope

NAMES = ("Quadrotor-v0", "CartPoleSwingUp-v0")
ALL = pytest.mark.parametrize("name", NAMES)


@ALL
def test_keeps_the_contract_of_robots(name: str) -> None:
    check_robot(make_robot(f"gym:{envs.NAMESPACE}{name}"))


@ALL
def test_the_reward_is_the_declared_one(name: str) -> None:
    robot = make_robot(f"gym:{envs.NAMESPACE}{name}")
    robot.task.check(robot.observation_space, robot.action_space)
    robot.connect()
    robot.reset(seed=1)
    rng = np.random.default_rng(0)
    for _ in range(30):
        low, high = robot.action_space.low, robot.action_space.high
        sent = robot.apply(rng.uniform(low, high).astype(np.float32))
        reading = robot.observe()
        assert robot.task.rewards(reading.obs, sent) == pytest.approx(reading.reward, abs=1e-5)
        if robot.task.terminal is not None:
            assert bool(robot.task.terminal(reading.obs)) == reading.terminated
        if reading.terminated:
            break
    robot.close()


@ALL
def test_its_picture_shows_what_happens(name: str) -> None:
    envs.register()
    env = gymnasium.make(envs.NAMESPACE + name, render_mode="rgb_array")
    env.reset(seed=3)
    before = env.render()
    for _ in range(5):
        env.step(env.action_space.high * [1, 0.9, 0.9, 1][: env.action_space.shape[0]])
    assert before.shape == env.render().shape == (256, 256, 3)
    assert not np.array_equal(before, env.render())


def test_at_rest_and_level_a_quadrotor_stays_so() -> None:
    assert not _slope(np.zeros(6), np.zeros(3)).any()
    spinning = np.array([0, 0, 0, 0, 0, 3.0])
    assert _slope(spinning, np.zeros(3)).tolist() == [0, 0, 3, 0, 0, 0]


def test_nobody_at_the_controls_a_quadrotor_falls() -> None:
    env, rng, flights = Quadrotor(), np.random.default_rng(0), []
    for seed in range(10):
        env.reset(seed=seed)
        for step in range(250):
            if env.step(rng.uniform(env._duty.low, env._duty.high).astype(np.float32))[2]:
                flights.append(step)
                break
    assert len(flights) == 10
    assert np.mean(flights) < 1.5 * 50, flights
    assert np.abs(env._state[:2]).max() > FALLEN - 0.05


def test_a_pole_that_nobody_pushes_keeps_its_energy() -> None:
    env = CartPoleSwingUp()
    env.reset(seed=0)
    env._state = np.array([0.0, 1.0, 0.0, 0.0])

    def energy() -> float:
        _, angle, speed, turning = env._state
        tip = (speed - LENGTH * turning * math.cos(angle), LENGTH * turning * math.sin(angle))
        moving = 0.5 * CART * speed**2 + 0.5 * POLE * (tip[0] ** 2 + tip[1] ** 2)
        return moving + POLE * GRAVITY * LENGTH * math.cos(angle)

    before, seen = energy(), []
    for _ in range(40):
        env.step(np.zeros(1, np.float32))
        seen.append(energy())
    # Friction of the cart takes a little, and so it must not grow.
    assert max(seen) < before + 0.05 * POLE * GRAVITY * LENGTH
    assert min(seen) > before - 0.5 * POLE * GRAVITY * LENGTH


def test_upright_in_the_middle_pays_most() -> None:
    env = CartPoleSwingUp()
    env.reset(seed=0)
    best = np.array([0, 0, 1, 0, 0], np.float32)
    still = np.zeros(1, np.float32)
    assert env.task.rewards({"obs": best}, still) == pytest.approx(1.0)
    hanging = np.array([0, 0, -1, 0, 0], np.float32)
    assert env.task.rewards({"obs": hanging}, still) == pytest.approx(math.exp(-4), abs=1e-6)
