"""Rewards are data: the same on NumPy and torch, and nothing but arithmetic."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from robot_client.errors import SchemaError
from robot_client.expression import Formula
from robot_client.rewards import (
    Distance,
    Expression,
    Goals,
    Quadratic,
    Within,
    reward_from_json,
    reward_to_json,
)
from robot_client.robots import make_robot
from robot_client.schema import Task

TIP, GOAL = [[3.0, 4.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.5]]
ACTION = [[1.0, -2.0], [0.0, 3.0]]
CASES = {
    "distance": (Distance("tip", "goal", 2.0), [-10.0, -1.0]),
    "distance from a constant": (Distance("tip", (3.0, 0.0)), [-4.0, -(10**0.5)]),
    "within": (Within("tip", "goal", 0.5), [-1.0, 0.0]),
    "within, paid": (Within("tip", "goal", 0.5, hit=5.0, miss=0.5), [0.5, 5.0]),
    "quadratic": (Quadratic("tip", (1.0, 2.0), (1.0, 0.0)), [-(4 + 32.0), -(1 + 2.0)]),
    "effort": (Quadratic("tip", (1.0, 0.0), "goal", effort=0.1), [-9.5, -0.9]),
    "expression": (Expression("-norm(tip - goal) - 0.1 * sum(action ** 2)"), [-5.5, -1.4]),
    "elements": (Expression("(tip[0] > 2) * cos(goal[1]) + abs(-tip[1])"), [5.0, 1.0]),
}


@pytest.mark.parametrize("name", CASES)
def test_rewards_are_what_they_say_on_both_kinds_of_arrays(name: str) -> None:
    reward, expected = CASES[name]
    arrays = {"tip": TIP, "goal": GOAL, "action": ACTION}
    for kind in (lambda v: np.array(v, np.float32), torch.tensor):
        values = {key: kind(value) for key, value in arrays.items()}
        np.testing.assert_allclose(np.asarray(reward(values)), expected, rtol=1e-6)
        stacked = {key: kind([value, value]) for key, value in arrays.items()}
        assert tuple(reward(stacked).shape) == (2, 2)
    assert reward.names <= set(arrays)
    back = reward_from_json(json.loads(json.dumps(reward_to_json(reward))))
    assert back == reward


def test_gradients_pass_through_a_reward() -> None:
    tip = torch.tensor(TIP, requires_grad=True)
    Expression("-norm(tip) + sin(tip[0])")({"tip": tip}).sum().backward()
    assert tip.grad is not None
    assert tip.grad[0].tolist() == pytest.approx([-0.6 + np.cos(3.0), -0.8])


BAD = [
    "__import__('os')",
    "tip.sum()",
    "tip[:]",
    "tip[tip]",
    "lambda: 1",
    "(1).real",
    "9 ** 9 ** 9",
    "tip ** 99",
    "tip if " + "-" * 480 + "1 else 1",
    "tip ** goal",
    "norm(tip, goal)",
    "eval('1')",
    "[1]",
    "'text'",
    "1 < tip < 2",
    "True",
    "tip if goal else 1",
    "",
    "x" * 501,
    "1 +",
    "tip @ goal",
    "f'{tip}'",
]


@pytest.mark.parametrize("text", BAD)
def test_what_is_not_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(SchemaError, match="expression"):
        Formula(text)


@given(st.text(max_size=40))
def test_no_text_is_more_than_refused(text: str) -> None:
    with contextlib.suppress(SchemaError):
        Formula(text)


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "learned"},
        {"kind": "distance", "of": "tip"},
        {"kind": "distance", "of": "tip", "to": [], "scale": 1},
        {"kind": "distance", "of": "tip", "to": [float("nan")]},
        {"kind": "distance", "of": "tip", "to": "goal", "scale": "1"},
        {"kind": "within", "of": "tip", "to": "goal", "within": 1, "more": 2},
        {"kind": "expression", "text": "import os"},
        {"kind": ["distance"]},
        "distance",
    ],
)
def test_a_wrong_field_is_named(data: Any) -> None:
    with pytest.raises(SchemaError, match="task"):
        reward_from_json(data)


SPACES = spaces.Dict(
    tip=spaces.Box(-1, 1, (2,), np.float32), goal=spaces.Box(-1, 1, (2,), np.float32)
)
ARM = spaces.Box(-1, 1, (2,), np.float32)


def test_a_task_travels_whole() -> None:
    whole = Task(
        "reach", 9, Distance("tip", "goal"), Goals("tip", "goal", 0.1), Expression("tip[0] > 1")
    )
    assert Task.from_json(json.loads(json.dumps(whole.to_json()))) == whole
    assert Task("plain", 5).to_json() == {"name": "plain", "episode_steps": 5}
    whole.check(SPACES, ARM)
    obs = {"tip": np.ones((3, 2), np.float32), "goal": np.ones((3, 2), np.float32)}
    assert whole.rewards(obs, np.zeros((3, 2))).tolist() == [0, 0, 0]
    with pytest.raises(SchemaError, match="a declared reward"):
        Task("plain").rewards(obs, np.zeros((3, 2)))


@pytest.mark.parametrize(
    "task",
    [
        Task("t", reward=Distance("tip", "target")),
        Task("t", reward=Distance("tip", (1.0, 2.0, 3.0))),
        Task("t", reward=Expression("tip + 1")),
        Task("t", reward=Expression("tip[2]")),
        Task("t", reward=Expression("norm(1)")),
        Task("t", reward=Expression("tip[0] * (1 / 0)")),
        Task("t", goals=Goals("tip", "target")),
        Task("t", terminal=Expression("height > 1")),
    ],
)
def test_a_task_must_fit_the_spaces(task: Task) -> None:
    with pytest.raises(SchemaError, match="task"):
        task.check(SPACES, ARM)


@pytest.mark.parametrize(
    ("name", "options"),
    [("BitFlip", {}), ("Reach", {}), ("Reach", {"sparse": True}), ("Push", {})],
)
def test_environments_with_goals_declare_the_reward_that_they_give(
    name: str, options: dict[str, Any]
) -> None:
    robot = make_robot(f"gym:dreamfleet/{name}-v0", **options)
    env: Any = gymnasium.make(f"dreamfleet/{name}-v0", **options).unwrapped
    robot.task.check(robot.observation_space, robot.action_space)
    assert Task.from_json(robot.task.to_json()) == robot.task
    space = robot.observation_space["achieved_goal"]
    space.seed(0)
    achieved = np.round(np.stack([space.sample() for _ in range(50)]))
    desired = np.where(np.arange(50)[:, None] % 2, achieved, np.roll(achieved, 1, 0))
    expected = env.compute_reward(achieved, desired, {})
    obs = {"achieved_goal": achieved, "desired_goal": desired}
    action = np.zeros((50, *robot.action_space.shape), np.float32)
    np.testing.assert_allclose(robot.task.rewards(obs, action), expected, rtol=1e-5)
    robot.close()
