"""Planners are right by themselves: with the true dynamics as their model they solve the task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robot_client.bundle import PlanSettings
from sim.pointmass import PointMass
from tests.unit import plan_tasks
from tests.unit.plan_tasks import FORCE, LEFT_OR_RIGHT, play

REFINING = ("cem", "mppi", "icem")


def settings(method: Any, **fields: Any) -> PlanSettings:
    usual = {"horizon": 12, "candidates": 64, "iterations": 3, "elites": 8, "init_std": 0.7}
    return PlanSettings(method, **{**usual, "warm_start": True, "temperature": 0.2, **fields})


def mean_return(task: plan_tasks.Task, steps: int, how: PlanSettings) -> float:
    return float(np.mean([play(task, how, steps, seed) for seed in range(3)]))


def test_the_point_mass_of_the_planner_is_that_of_the_robot() -> None:
    robot, rng = PointMass(), np.random.default_rng(0)
    robot.reset(0)
    vector = robot.observe().obs["vector"].astype(float)
    state = {"x": vector[None, :2], "v": vector[None, 2:]}
    for action in rng.uniform(-1, 1, (40, 2)).astype(np.float32):
        robot.apply(action)
        state, reward, _ = plan_tasks.push(state, action[None], rng)
        reading = robot.observe()
        here = np.concatenate([state["x"][0], state["v"][0]])
        np.testing.assert_allclose(reading.obs["vector"], here, atol=1e-5)
        assert reading.reward == pytest.approx(float(reward[0]), abs=1e-4)


def test_all_methods_push_the_point_to_the_goal_and_shooting_worse() -> None:
    task = plan_tasks.point_mass()
    found = {m: mean_return(task, 40, settings(m)) for m in (*REFINING, "shooting")}
    idle = mean_return(task, 40, settings("shooting", candidates=1, iterations=1, elites=1))
    assert idle < 15
    for method in REFINING:
        assert found[method] > found["shooting"] + 1, found
        assert found[method] > 31, found


@pytest.mark.parametrize("method", REFINING)
@pytest.mark.parametrize("space", [LEFT_OR_RIGHT, FORCE], ids=["discrete", "continuous"])
def test_they_balance_the_pole(method: str, space: Any) -> None:
    task = plan_tasks.cart_pole(space)
    assert mean_return(task, 75, settings(method)) == 75


def test_the_pole_falls_without_a_planner() -> None:
    for space in (LEFT_OR_RIGHT, FORCE):
        blind = settings("shooting", candidates=1, iterations=1, elites=1, warm_start=False)
        assert mean_return(plan_tasks.cart_pole(space), 75, blind) < 50


def test_icem_swings_the_pole_up_with_a_third_of_the_samples_of_cem() -> None:
    task = plan_tasks.hanging_pole()
    usual = {"horizon": 25, "init_std": 0.5, "momentum": 0.1}
    icem = mean_return(task, 100, settings("icem", candidates=100, elites=10, **usual))
    cem = mean_return(task, 100, settings("cem", candidates=300, elites=30, **usual))
    shooting = mean_return(task, 100, settings("shooting", candidates=300, elites=30, **usual))
    assert icem > cem + 1
    assert cem > shooting + 5
    assert icem > 70  # upright from about the 25th of 100 steps on
