"""NAF against golden cases and by hand; its linear models, its controller and what it imagines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.agent import Tensors
from agents.blocks.dynamics import Outcomes
from agents.blocks.ilqg import ilqg
from agents.blocks.local_linear import LocalLinear
from agents.blocks.ring import Ring
from agents.naf import NAF, NAFConfig, advantage, lower_factor
from agents.testing import random_batch
from robot_client.rewards import Quadratic
from robot_client.schema import Task
from tests.oracle_cases import cases, close, load, tensors

CPU = torch.device("cpu")
SEEN = spaces.Dict(x=spaces.Box(-50, 50, (2,), np.float32))
ARM = spaces.Box(-2, 2, (1,), np.float32)
SMALL: dict[str, Any] = {"batch_size": 8, "widths": (16,), "steps": 4, "refit_every": 2}


@pytest.mark.parametrize("case", cases("8_other_algorithms", "naf"))
def test_the_quadratic_is_the_golden_one(case: str) -> None:
    inputs, outputs, _ = load("8_other_algorithms", case)
    x = tensors(inputs)
    for name in ("v", "mu", "l_entries"):
        x[name].requires_grad_()
    actions = x["mu"].shape[-1]
    factor = lower_factor(x["l_entries"], actions)
    close(factor, outputs["L"])
    close(factor @ factor.mT, outputs["P"])
    away = advantage(x["l_entries"], x["action"] - x["mu"])
    close(away, outputs["advantage"])
    quality = x["v"] + away
    close(quality, outputs["q"])
    close(x["v"] + advantage(x["l_entries"], 0 * x["mu"]), outputs["q_at_mu"])
    loss = (x["target"] - quality).square().mean()
    close(loss, outputs["loss"])
    loss.backward()
    for name in ("v", "mu", "l_entries"):
        grad = x[name].grad
        assert grad is not None
        close(grad, outputs[f"grad_{name}"])


def naf(**config: Any) -> NAF:
    torch.manual_seed(0)
    return NAF(SEEN, ARM, NAFConfig.model_validate({**SMALL, **config}), CPU)


def random_rows(agent: NAF, seed: int = 0) -> Tensors:
    return random_batch(agent, SEEN, ARM, torch.Generator().manual_seed(seed))


def test_no_action_is_worth_more_than_the_best() -> None:
    agent, x = naf(), torch.randn(50, 2)
    value, best, entries = agent.net(x)
    assert (best.abs() <= 1).all()
    torch.testing.assert_close(agent.net.quality(x, best), value)
    for _ in range(5):
        assert (agent.net.quality(x, torch.rand(50, 1) * 2 - 1) <= value).all()
    assert torch.isfinite(lower_factor(entries + 1e4, 1)).all()


def test_the_target_is_the_slow_value_cut_where_the_task_ended() -> None:
    agent = naf(imagined_updates=0)
    batch = random_rows(agent)
    batch["discount"][0] = 0.0
    x, action = batch["x"], batch["action"] / 2
    target = batch["return"] + batch["discount"] * agent.slow.net(batch["next/x"])[0]
    assert target[0] == batch["return"][0]
    error = target - agent.net.quality(x, action)
    found = agent.train(batch).metrics["loss/critic"]
    torch.testing.assert_close(found, (0.5 * error.square()).mean().detach())


def rows(seed: int, count: int = 400) -> tuple[torch.Tensor, ...]:
    """Of a system that turns with time: its slopes, and rows at times 0 to 3."""
    rng = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 4, 2, generator=rng)
    x, action = torch.randn(count, 2, generator=rng), torch.randn(count, 1, generator=rng)
    clock = torch.randint(4, (count,), generator=rng).float()
    inputs = torch.cat([x, action, torch.ones(count, 1)], -1)
    after = x + (inputs[:, None] @ weight[clock.long()])[:, 0]
    return weight, x, action, after, clock


def test_models_of_each_time_are_found_and_the_rest_is_noise() -> None:
    weight, x, action, after, clock = rows(0, 4000)
    after = after + 0.1 * torch.randn(after.shape, generator=torch.Generator().manual_seed(1))
    model = LocalLinear(2, 1, steps=4, memory=10_000, prior=1e-6)
    model.take_in(x, action, after, clock)
    model.refit()
    assert (model.weight - weight).abs().max() < 0.02
    assert (model.deviation - 0.1).abs().max() < 0.01
    slopes, offsets = model.matrices()
    both = torch.cat([x, action], -1)
    time = clock.long()
    mean = model.step(x, action, clock)
    expected = (slopes[time] @ both[..., None])[..., 0] + offsets[time]
    torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-4)


def test_a_time_that_was_never_seen_is_as_all_others() -> None:
    weight, x, action, _, _ = rows(2)
    inputs = torch.cat([x, action, torch.ones(len(x), 1)], -1)
    after = x + inputs @ weight[0]
    model = LocalLinear(2, 1, steps=5, memory=10_000, prior=1.0)
    clock = torch.arange(len(x)) % 3
    model.take_in(x, action, after, clock.float())
    model.refit()
    for time in range(5):
        assert (model.weight[time] - weight[0]).abs().max() < 1e-3


def test_rows_without_a_time_do_not_count_and_old_ones_fade() -> None:
    _, x, action, after, clock = rows(3, 20)
    model = LocalLinear(2, 1, steps=4, memory=50, prior=1.0)
    model.take_in(x, action, after, torch.full_like(clock, -1))
    assert not model.moments.any()
    model.take_in(x, action, after, clock)
    before = model.moments.clone()
    model.take_in(x, action, after, torch.full_like(clock, -1))
    assert torch.equal(model.moments, before)
    _, *others = rows(4, 20)
    model.take_in(*others)
    fresh = LocalLinear(2, 1, steps=4, memory=50, prior=1.0)
    fresh.take_in(*others)
    torch.testing.assert_close(model.moments, fresh.moments + 0.98**20 * before)


def test_a_row_that_is_replayed_counts_once() -> None:
    """So the prior weighs as many rows as it says, however often the rows are drawn."""
    _, x, action, after, clock = rows(5, 30)
    model = LocalLinear(2, 1, steps=4, memory=1000, prior=4.0)
    once = LocalLinear(2, 1, steps=4, memory=1000, prior=4.0)
    once.take_in(x, action, after, clock)
    rng = torch.Generator().manual_seed(0)
    for _ in range(40):
        drawn = torch.randint(30, (16,), generator=rng)  # some of them twice
        model.take_in(x[drawn], action[drawn], after[drawn], clock[drawn])
    counts = model.moments[:, 3, 3]
    torch.testing.assert_close(
        counts, clock.long().bincount(minlength=4).double(), rtol=0.05, atol=0
    )
    for one in (once, model):
        one.refit()
    torch.testing.assert_close(model.weight, once.weight, rtol=0.05, atol=0.02)


def test_the_same_numbers_at_another_time_are_another_row() -> None:
    _, x, action, after, clock = rows(6, 30)
    model = LocalLinear(2, 1, steps=4, memory=1000, prior=4.0)
    model.take_in(x, action, after, torch.zeros_like(clock))
    model.take_in(x, action, after, torch.ones_like(clock))
    assert model.moments[:2, 3, 3].min() > 28


def test_a_row_that_is_forgotten_counts_again() -> None:
    _, x, action, after, clock = rows(7, 30)
    model = LocalLinear(2, 1, steps=4, memory=20, prior=4.0)
    for at in (slice(0, 10), slice(10, 30), slice(0, 10)):
        model.take_in(x[at], action[at], after[at], clock[at])
    assert model.written == 40


def test_the_controller_of_a_linear_robot_is_riccatis() -> None:
    slopes = torch.tensor([[1.0, 0.1, 0.0], [0.0, 1.0, 0.1]]).expand(30, 2, 3)
    cost, effort = torch.diag(torch.tensor([1.0, 0.1])), 0.5

    def rewards(x: torch.Tensor, action: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return -((after @ cost) * after).sum(-1) - effort * action.square().sum(-1)

    start = torch.tensor([0.3, -0.2])
    plan = ilqg(slopes, torch.zeros(30, 2), rewards, start, torch.zeros(30, 1), iterations=8)
    a, b, rest, gains = slopes[0, :, :2], slopes[0, :, 2:], torch.zeros(2, 2), []
    for _ in range(30):
        future = cost + rest
        gain = -torch.linalg.solve(effort + b.T @ future @ b, b.T @ future @ a)
        rest = a.T @ future @ (a + b @ gain)
        gains.append(gain)
    x, total = start, torch.zeros(())
    for t, gain in enumerate(reversed(gains)):
        torch.testing.assert_close(plan.gain[t], gain, rtol=1e-2, atol=1e-3)
        action = gain @ x
        torch.testing.assert_close(plan.action[t], action, rtol=1e-2, atol=2e-3)
        after = a @ x + b @ action
        total = total + rewards(x[None], action[None], after[None])[0]
        x = after
    assert plan.value.item() == pytest.approx(total.item(), rel=1e-3)


def test_a_ring_keeps_the_newest() -> None:
    ring, rng = Ring(5, 1), torch.Generator().manual_seed(0)
    ring.write(torch.ones(3, 1))
    assert (ring.draw(50, rng) == 1).all()
    for number in (2.0, 3.0):
        ring.write(torch.full((3, 1), number))
    assert set(ring.draw(200, rng).flatten().tolist()) == {2.0, 3.0}
    assert ring.rows.flatten().tolist().count(2.0) == 2


def test_what_is_imagined_follows_the_model_the_policy_and_the_task() -> None:
    agent = naf(imagined_steps=3, deviation=0.0)
    agent.task = Task("t", reward=Quadratic("x", (1.0, 0.0), (0.0, 0.0)))
    model = agent.imagination.model
    with torch.no_grad():
        model.weight[:, 2, 0] = torch.arange(4.0)  # x moves by the action times the time
    x, clock = torch.randn(8, 2), torch.arange(8.0) - 1
    outcomes = Outcomes(agent.vectors, agent.codec, agent.task)
    agent.imagination.imagine(x, clock, [(agent._explored, 1.0)], outcomes, 3, agent._normal)
    fiction = agent.imagination.draw(500, torch.Generator().manual_seed(0))
    assert agent.imagination.ring.written == 24
    best = agent.net.best(fiction.x).detach()
    torch.testing.assert_close(fiction.action, best)
    moved = fiction.after - fiction.x
    times = moved[:, 0] / best[:, 0]
    assert torch.allclose(times, times.round(), atol=1e-3)
    assert set(times.round().tolist()) == {0.0, 1.0, 2.0, 3.0}
    torch.testing.assert_close(fiction.reward, -fiction.after[:, 0].square())
    assert torch.equal(fiction.factor, torch.full((500,), 0.99))
    assert set(fiction.weight.tolist()) == {0.0, 1.0}  # one row had no time


def test_imagination_ends_when_it_is_to_end() -> None:
    agent = naf(imagined_until=4, ilqg=0.5)
    written, shares = [], []
    for seed in range(6):
        agent.train(random_rows(agent, seed))
        written.append(int(agent.imagination.ring.written))
        shares.append(agent.imagination.controller.share.item())
    assert written == [0, 40, 80, 120, 120, 120]
    assert shares == [0.0, 0.5, 0.5, 0.5, 0.0, 0.0]


def test_episodes_that_are_drawn_for_it_follow_the_controller_to_their_end() -> None:
    agent = naf(ilqg=0.3, deviation=0.0)
    controller = agent.imagination.controller
    controller.share.fill_(0.3)
    controller.action.copy_(torch.tensor([[0.1], [0.2], [0.3], [0.4]]))
    controller.gain[1].copy_(torch.tensor([[0.5, 0.0]]))
    controller.x[1].copy_(torch.tensor([1.0, 0.0]))
    policy = agent.acting().graphs["policy"]
    agent.explorer.share.zero_()
    for drawn, followed in ((0.9, True), (0.5, False), (0.0, False)):
        carry = {"in_carry_clock": torch.tensor([7.0]), "in_carry_chosen": torch.tensor([0.5])}
        for time in range(6):
            x = torch.tensor([[1.4, 0.0]])
            found = policy(
                {
                    "in_x": x,
                    "in_is_first": torch.tensor([time == 0]),
                    "in_noise_explore": torch.zeros(1, 2),
                    "in_noise_action": torch.zeros(1, 1),
                    "in_noise_episode": torch.full((1, 1), drawn if time == 0 else 0.99),
                    "in_carry_drift": torch.zeros(1, 1),
                    **carry,
                }
            )
            assert found["out_extra_clock"].item() == time
            planned = [0.1, 0.2 + 0.5 * 0.4, 0.3, 0.4, 0.4, 0.4][time]
            expected = planned if followed else agent.net.best(x).item()
            assert found["out_action"].item() == pytest.approx(2 * expected, rel=1e-5)
            carry = {f"in_carry_{k}": found[f"out_carry_{k}"] for k in ("clock", "chosen")}
