"""MPC's graphs by hand: trajectory sampling, declared rewards; planners against golden cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.mpc import MPC, MPCConfig
from robot_client.bundle import PlanSettings
from robot_client.planning.beliefs import Gaussian
from robot_client.planning.model import Actions
from robot_client.planning.strategies import STRATEGIES, Search
from robot_client.rewards import Quadratic
from robot_client.schema import Task
from tests.oracle_cases import load

SEEN = spaces.Dict(x=spaces.Box(-99, 99, (2,), np.float32))
ARM = spaces.Box(-2, 2, (1,), np.float32)


def build(**config: Any) -> MPC:
    """Two members without hidden layers, which think nothing changes but by their own bias."""
    torch.manual_seed(0)
    full = MPCConfig.model_validate({"widths": (), "members": 2, "per_member": 1, **config})
    agent = MPC(SEEN, ARM, full, torch.device("cpu"))
    nets, ends = agent.dynamics.nets, agent.dynamics.ends
    with torch.no_grad():
        nets.weights[0].zero_()
        ends.weights[0].zero_()
        nets.biases[0].zero_()
        nets.biases[0][0, 0, 0], nets.biases[0][1, 0, 0] = 1.0, 3.0  # change of the first number
        nets.biases[0][:, 0, 2] = torch.tensor([5.0, 7.0])  # reward
        ends.biases[0][:, 0, 0] = torch.tensor([0.0, 100.0])  # log-odds to go on
    return agent


def start(agent: MPC, candidates: int) -> dict[str, torch.Tensor]:
    seen = {"in_x": torch.tensor([[10.0, 20.0]]), "in_is_first": torch.tensor([True])}
    carry = agent.acting().graphs["filter"](seen)
    return {
        f"in_carry_{k}": carry[f"out_carry_{k}"].repeat_interleave(candidates, 0)
        for k in ("x", "alive")
    }


def imagine(agent: MPC, carry: dict[str, torch.Tensor], **more: torch.Tensor) -> Any:
    rows, particles, width = carry["in_carry_x"].shape
    noise = {"in_noise_chance": torch.zeros(rows, particles, width + 1)}
    action = torch.full((rows, 1), 0.5)
    with torch.no_grad():
        return agent.acting().graphs["imagine"]({**carry, **noise, "in_action": action, **more})


def test_a_particle_stays_with_its_member() -> None:
    agent = build()
    carry = start(agent, candidates=3)
    for k in (1, 2):
        found = imagine(agent, carry)
        carry = {f"in_carry_{n}": found[f"out_carry_{n}"] for n in ("x", "alive")}
        assert carry["in_carry_x"][:, :, 0].tolist() == [[10.0 + k, 10.0 + 3 * k]] * 3
    # The first member thinks that each step ends it by half: the second reward counts so much.
    assert found["out_reward"].tolist() == pytest.approx([(0.5 * 5 + 7) / 2] * 3)
    assert carry["in_carry_alive"][0].tolist() == pytest.approx([0.25, 1.0])
    assert found["out_continue"].tolist() == [1.0] * 3


def test_a_particle_changes_its_member_where_it_is_shuffled() -> None:
    agent = build(sampling="ts1")
    carry = start(agent, candidates=2)
    keep, swap = torch.tensor([0.1, 0.9]), torch.tensor([0.9, 0.1])
    found = imagine(agent, carry, in_noise_shuffle=torch.stack([keep, keep]))
    carry = {f"in_carry_{n}": found[f"out_carry_{n}"] for n in ("x", "alive")}
    found = imagine(agent, carry, in_noise_shuffle=torch.stack([keep, swap]))
    assert found["out_carry_x"][:, :, 0].tolist() == [[12.0, 16.0], [14.0, 14.0]]


def test_the_reward_is_the_tasks_own_where_it_declares_one() -> None:
    agent = build()
    agent.task = Task("t", reward=Quadratic("x", (1.0, 0.0), (0.0, 0.0), effort=2.0))
    found = imagine(agent, start(agent, candidates=1))
    # Half of the range is 1 to the robot.
    assert found["out_reward"].item() == pytest.approx(-(11**2 + 13**2) / 2 - 2)


def test_the_spread_of_a_member_is_sampled() -> None:
    agent = build()
    carry, noise = start(agent, candidates=1), torch.zeros(1, 2, 3)
    noise[0, 0, 0] = 1.0
    moved = imagine(agent, carry, in_noise_chance=noise)["out_carry_x"][0, :, 0] - 10
    raw = agent.dynamics(torch.zeros(1, 2), torch.zeros(1, 1)).log_var[0, 0, 0].detach()
    assert moved.tolist() == pytest.approx([1 + float(torch.exp(0.5 * raw)), 3.0], rel=1e-5)


def refined(method: Any, **settings: Any) -> Gaussian:
    """What a search believes after the golden case's plans."""
    given, _, _ = load("8_other_algorithms", "planner_update_N12")
    plans, count = given["samples"].astype(np.float32), len(given["samples"])
    actions = Actions.of(spaces.Box(-1, 1, plans.shape[2:], np.float32))
    full = PlanSettings(method, plans.shape[1], count, 1, **settings)
    std = np.sqrt(given["old_var"])
    belief = Gaussian(given["old_mean"], std, actions, full.momentum, full.min_std, 0.0)
    search = Search(belief, plans[:0])
    strategy = STRATEGIES[method](full, actions)
    found = strategy.refine(search, plans, given["score"].astype(np.float64), count).belief
    assert isinstance(found, Gaussian)
    return found


def test_the_cross_entropy_method_refits_as_the_golden_case_does() -> None:
    _, expected, _ = load("8_other_algorithms", "planner_update_N12")
    found = refined("cem", elites=4)
    np.testing.assert_allclose(found.location, expected["elite_mean"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.std**2, expected["elite_var"], rtol=1e-5, atol=1e-6)


def test_mppi_weighs_as_the_golden_case_does() -> None:
    _, expected, _ = load("8_other_algorithms", "planner_update_N12")
    every = refined("mppi", elites=12, temperature=0.5)
    np.testing.assert_allclose(every.location, expected["mppi_mean"], rtol=1e-5, atol=1e-6)
    best = refined("mppi", elites=4, temperature=0.5, min_std=0.05)
    np.testing.assert_allclose(best.location, expected["elite_mppi_mean"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(best.std, expected["elite_mppi_std"], rtol=1e-5, atol=1e-6)
