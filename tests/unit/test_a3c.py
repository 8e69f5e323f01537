"""V-trace, A3C's losses by hand, its memory, and what comes of it in lockstep."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.a3c import A3C, A3CConfig
from agents.agent import Tensors
from agents.blocks.memory import Memory
from agents.blocks.on_policy import ActionHead
from agents.blocks.vtrace import vtrace
from agents.errors import UnsupportedSpace
from robot_client.schema import ActionSpace
from server.lockstep import run
from tests.oracle_cases import cases, close, load, tensors

FILE = "8_other_algorithms"
CPU = torch.device("cpu")
SEEN = spaces.Dict(x=spaces.Box(-9, 9, (1,), np.float32))
CHOICE = spaces.Discrete(2)
ARM = spaces.Box(-2, 2, (1,), np.float32)


@pytest.mark.parametrize("case", cases(FILE, "vtrace"))
def test_vtrace_is_the_golden_one(case: str) -> None:
    inputs, outputs, _ = load(FILE, case)
    x = tensors(inputs)
    value = torch.cat([x["value"], x["bootstrap"][None]])
    bars = {name: float(x[name]) for name in ("rho_bar", "c_bar", "rho_bar_pg", "lam")}
    columns = (x["log_rho"], x["reward"], x["discount"], value[:-1], value[1:])
    found = vtrace(*(c.T for c in columns), torch.zeros_like(x["reward"].T).bool(), **bars)
    close(found.target.T, outputs["vs"])
    close(found.advantage.T, outputs["advantage"])


def test_on_policy_with_lambda_it_is_the_golden_generalised_advantage() -> None:
    inputs, outputs, _ = load(FILE, "gae_term_and_trunc")
    x = tensors(inputs)
    discount = x["gamma"] * ~x["terminated"]
    columns = (x["reward"], discount, x["value"], x["next_value"])
    ends = (x["terminated"] | x["truncated"]).T
    log_rho = torch.zeros_like(ends, dtype=torch.float64)
    found = vtrace(log_rho, *(c.T for c in columns), ends, lam=float(x["lam"]))
    close((found.target - x["value"].T).T, outputs["advantage"])


def n_step(
    reward: list[float], value: list[float], last: set[int], terminal: set[int], t: int
) -> float:
    """A3C's return of row t: rewards until the episode's or the rollout's end, then the value."""
    total, factor, k = 0.0, 1.0, t
    while k + 1 < len(reward):
        k += 1
        total, factor = total + factor * reward[k], factor * 0.9
        if k in last:
            break
    return total + (0.0 if k in terminal else factor * value[k])


def test_on_policy_its_targets_are_plain_n_step_returns() -> None:
    agent = build(CHOICE, discount=0.9)
    generator = torch.Generator().manual_seed(0)
    reward, value = (torch.randn(1, 9, generator=generator) for _ in range(2))
    last, terminal = {2, 5}, {5}  # the first episode is cut, the second one ends
    rows = {
        "reward": reward,
        "is_last": torch.tensor([[t in last for t in range(9)]]),
        "is_terminal": torch.tensor([[t in terminal for t in range(9)]]),
    }
    found = agent.targets(rows, torch.zeros(1, 8), value)
    numbers = reward[0].tolist(), value[0].tolist()
    for t in set(range(8)) - last:
        expected = n_step(*numbers, last, terminal, t)
        assert found.target[0, t].item() == pytest.approx(expected, rel=1e-5)
        assert found.advantage[0, t].item() == pytest.approx(expected - numbers[1][t], abs=1e-5)


def build(action: ActionSpace, **config: Any) -> A3C:
    torch.manual_seed(0)
    full = A3CConfig.model_validate({"widths": (), "batch_size": 1, "n_step": 2, **config})
    return A3C(SEEN, action, full, CPU)


def write(agent: A3C, actor: list[float], critic: float) -> None:
    """The raw outputs are `actor` times x, the value is `critic` times x."""
    with torch.no_grad():
        agent.net.actor.weight.copy_(torch.tensor(actor)[:, None])
        agent.net.critic.weight.fill_(critic)


def three_rows(action: torch.Tensor, behaviour: torch.Tensor) -> Tensors:
    no = torch.zeros(1, 3, dtype=torch.bool)
    return {
        "x": torch.tensor([[[1.0], [2.0], [3.0]]]),
        "reward": torch.tensor([[9.0, 0.5, -1.0]]),
        "action": action,
        "is_first": no,
        "is_last": no,
        "is_terminal": no,
        "policy/behaviour": behaviour,
        "prev_action": action[:, 0],
    }


@pytest.mark.parametrize("stale", [0.0, 1.0])
def test_the_losses_are_the_papers(stale: float) -> None:
    agent = build(CHOICE, discount=0.9, entropy=0.01, value_scale=0.5)
    write(agent, [1.0, 0.0], 2.0)
    x = np.array([1.0, 2.0])
    p = 1 / (1 + np.exp(-x))  # of action 0
    raw = torch.tensor([[[1.0, 0.0], [2.0 + stale, 0.0], [3.0, 0.0]]])
    total, metrics = agent.losses(three_rows(torch.tensor([[1, 0, 1]]), raw))
    rho = p[1] / (1 / (1 + math.exp(-2 - stale)))  # of the second step; below 1 where it is stale
    values = 2 * np.array([1.0, 2.0, 3.0])
    error = rho * (-1 + 0.9 * values[2] - values[1])
    second = values[1] + error
    first = 0.5 + 0.9 * second
    gains = np.array([first - values[0], error])
    policy = -np.mean(np.log([1 - p[0], p[1]]) * gains)
    value = 0.5 * np.mean((np.array([first, second]) - values[:2]) ** 2)
    entropy = np.mean(-p * np.log(p) - (1 - p) * np.log(1 - p))
    assert float(metrics["loss/policy"]) == pytest.approx(policy, rel=1e-5)
    assert float(metrics["loss/value"]) == pytest.approx(value, rel=1e-5)
    assert float(metrics["entropy"]) == pytest.approx(entropy, rel=1e-5)
    assert total.item() == pytest.approx(policy + value - 0.01 * entropy, rel=1e-5)
    assert float(metrics["ratio"]) == pytest.approx((1 + rho) / 2, rel=1e-5)


def test_the_gradient_is_that_of_the_log_probability_and_of_the_critic_alone() -> None:
    agent = build(CHOICE, discount=0.9, entropy=0.0, value_scale=0.5)
    write(agent, [1.0, 0.0], 2.0)
    raw = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]])
    agent.losses(three_rows(torch.tensor([[1, 0, 1]]), raw))[0].backward()
    second = -1 + 0.9 * 6
    gains = [0.5 + 0.9 * second - 2, second - 4]
    p = [1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-2))]
    # d log pi / d raw_0 is 1 - p where action 0 was taken, -p where not; times x.
    actor = -((0 - p[0]) * 1 * gains[0] + (1 - p[1]) * 2 * gains[1]) / 2
    assert agent.net.actor.weight.grad is not None
    assert agent.net.actor.weight.grad[0, 0].item() == pytest.approx(actor, rel=1e-5)
    critic = -(gains[0] * 1 + gains[1] * 2) / 2
    assert agent.net.critic.weight.grad is not None
    assert agent.net.critic.weight.grad.item() == pytest.approx(critic, rel=1e-5)


def test_no_action_of_a_last_row_counts() -> None:
    agent = build(CHOICE)
    raw = torch.zeros(1, 3, 2)
    batch = three_rows(torch.tensor([[1, 0, 1]]), raw)
    batch["is_last"] = torch.tensor([[False, True, False]])
    before = agent.losses(batch)[0]
    batch["action"] = torch.tensor([[1, 1, 0]])
    batch["reward"] = torch.tensor([[0.0, 0.5, 77.0]])
    assert agent.losses(batch)[0] == before


def test_actions_within_bounds_are_weighed_by_the_density_of_what_was_executed() -> None:
    head = ActionHead(ARM)
    raw = torch.tensor([[0.3, -0.5]])
    mean, std = math.tanh(0.3), 2 / (1 + math.exp(0.25)) + 0.1

    def below(x: float) -> float:
        return 0.5 * (1 + math.erf((x - mean) / (std * math.sqrt(2))))

    density = math.exp(-0.5 * ((0.5 - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
    expected = math.log(density / (below(1) - below(-1)))
    assert head.log_prob(raw, torch.tensor([[1.0]])).item() == pytest.approx(expected, rel=1e-4)
    sampled = head.draw(raw.expand(200, 2), torch.randn(200, 1))
    assert sampled.abs().max() <= 2
    assert head.draw(raw, torch.zeros(1, 1)).item() == pytest.approx(2 * mean, rel=1e-5)


def test_what_was_acted_with_memory_is_found_again_from_what_was_stored() -> None:
    agent = build(CHOICE, cells=5, n_step=3, widths=(4,))
    policy = agent.acting().graphs["policy"]
    state, columns = torch.zeros(1, 10), []
    for t in range(7):
        first = torch.tensor([t in (0, 5)])
        given = {"in_x": torch.tensor([[0.3 * t]]), "in_prev_action": torch.zeros(1).long()}
        noise = {"in_noise_action": torch.zeros(1, 2)}
        carried = {"in_carry_memory": state, "in_is_first": first}
        outputs = policy(given | noise | carried)
        state = outputs["out_carry_memory"]
        columns.append({"x": given["in_x"], "is_first": first, **outputs})
    window = {k: torch.stack([c[k] for c in columns[3:]], 1) for k in columns[0]}
    window["policy/memory"] = window["out_extra_memory"]
    assert window["policy/memory"][0, 0].abs().sum() > 0
    found = agent.opinion(window).raw
    torch.testing.assert_close(found, window["out_extra_behaviour"])


def test_memory_is_an_lstm() -> None:
    torch.manual_seed(0)
    memory, theirs = Memory(3, 4), torch.nn.LSTMCell(3, 4)
    order = [1, 0, 3, 2]  # theirs are write, keep, new, show
    with torch.no_grad():
        both = memory.gates.weight.reshape(4, 4, 7)[order]
        theirs.weight_ih.copy_(both[..., :3].reshape(16, 3))
        theirs.weight_hh.copy_(both[..., 3:].reshape(16, 4))
        theirs.bias_ih.zero_()
        theirs.bias_hh.zero_()
        theirs.bias_ih[4:8] = 1.0
    x, state = torch.randn(2, 3), torch.randn(2, 8)
    expected = torch.cat(theirs(x, tuple(state.chunk(2, -1))), -1)
    torch.testing.assert_close(memory(x, state), expected)


@pytest.mark.parametrize("config", [{}, {"cells": 6}])
def test_what_a_run_in_lockstep_has_just_acted_is_on_policy(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    full = {"widths": (8,), "batch_size": 1, "n_step": 10, "learning_rate": 1e-9, **config}
    summary = run(
        "a3c", "pointmass", steps=120, config=full, min_rows=1, eval_episodes=1, directory=tmp_path
    )
    assert summary["updates"] == 12  # 123 rows, ten new ones in each rollout
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["ratio"] == pytest.approx(1, abs=1e-4)


def test_what_it_cannot_do_it_refuses() -> None:
    with pytest.raises(UnsupportedSpace, match="expected a bounded Box"):
        build(spaces.Box(-np.inf, np.inf, (2,), np.float32))
    odd = spaces.Dict(x=spaces.Box(0, 255, (4,), np.uint8))
    with pytest.raises(UnsupportedSpace, match=r"observation\.x"):
        A3C(odd, CHOICE, A3CConfig(), CPU)
