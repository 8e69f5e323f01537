"""Value expansion by hand, STEVE's weights, and that no horizon is DDPG."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from agents.blocks.dynamics import Step
from agents.blocks.expansion import horizon_values, path_values, steve
from agents.ddpg import DDPG, DDPGConfig
from agents.mve import MVE, MVEConfig
from agents.testing import random_batch
from robot_client.rewards import Expression
from robot_client.schema import Task
from tests.unit.test_actor_critics import ARM, BATCH, CPU, FLAT, SEEN, write_actor, write_critic

WIDE = spaces.Dict(x=spaces.Box(-1, 1, (3,), np.float32))


def test_a_path_is_worth_its_rewards_and_what_follows_them() -> None:
    reward, factor = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.5, 0.1, 0.25])
    last = 4 + 0.25 * 8
    expected = [1 + 0.5 * (2 + 0.1 * last), 2 + 0.1 * last, last]
    found = path_values(reward, factor, torch.tensor(8.0))
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("steps", range(1, 7))
def test_the_longest_horizon_is_the_whole_path(steps: int) -> None:
    torch.manual_seed(steps)
    reward, factor, following = torch.randn(3, steps, 4).unbind(0)
    factor = factor.sigmoid()
    found = horizon_values(reward, factor, following)
    for h in range(steps):
        whole = path_values(reward[: h + 1], factor[: h + 1], following[h])
        torch.testing.assert_close(found[h], whole[0])


def test_after_an_end_nothing_counts() -> None:
    reward, factor = torch.tensor([1.0, 5.0, 7.0]), torch.tensor([0.9, 0.0, 0.9])
    assert path_values(reward, factor, torch.tensor(100.0))[0].item() == pytest.approx(5.5)


def test_steve_trusts_horizons_as_far_as_candidates_agree() -> None:
    candidates = torch.tensor([[1.0, 3.0], [10.0, 14.0]])[..., None]  # variances 1 and 4
    value, weight = steve(candidates)
    assert weight[:, 0].tolist() == pytest.approx([0.8, 0.2])
    assert value.item() == pytest.approx(0.8 * 2 + 0.2 * 12)
    certain, _ = steve(torch.tensor([[1.0, 3.0], [5.0, 5.0]])[..., None])
    assert certain.item() == pytest.approx(5.0, abs=1e-5)


class Straight(nn.Module):
    """A model of one member: x' = x + 2 a + 1, reward x a, and goes on by half."""

    def step(self, x: torch.Tensor, action: torch.Tensor) -> Step:
        return Step(x + 2 * action + 1, (x * action)[..., 0], torch.full(x.shape[:2], 0.5))


def mve(**config: Any) -> MVE:
    torch.manual_seed(0)
    full = MVEConfig.model_validate({**FLAT, "model_widths": (4,), "warm_up": 0, **config})
    agent = MVE(SEEN, ARM, full, CPU)
    write_critic(agent.critic, *[(1.0, 2.0)] * agent.critics())
    write_actor(agent.actor, 0.5)
    write_critic(agent.slow_critic.net, *[(10.0, 20.0)] * agent.critics())
    write_actor(agent.slow_actor.net, -0.25)
    agent.model = Straight()  # type: ignore[assignment]
    return agent


def by_hand(x: float, horizon: int, discount: float) -> float:
    """What is expected from the state that was really reached."""
    action = math.tanh(-0.25 * x)
    if not horizon:
        return 10 * x + 20 * action
    rest = by_hand(x + 2 * action + 1, horizon - 1, discount)
    return x * action + discount * 0.5 * rest


@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_targets_go_on_from_the_state_that_was_really_reached(horizon: int) -> None:
    agent = mve(horizon=horizon, discount=0.9, imagined_weight=0.0)
    value, _ = agent.path_target(agent.imagine(BATCH))
    assert value.tolist() == pytest.approx([1 + 0.9 * by_hand(3.0, horizon, 0.9), -1.0], rel=1e-5)


def test_the_tasks_own_reward_and_end_are_used_where_they_are_declared() -> None:
    agent = mve(horizon=1, discount=0.9, imagined_weight=0.0)
    agent.task = Task("t", reward=Expression("x[0] + action[0]"), terminal=Expression("x[0] < 99"))
    action = math.tanh(-0.75)
    value, _ = agent.path_target(agent.imagine(BATCH))
    expected = 1 + 0.9 * (3 + 2 * action + 1 + 2 * action)  # the robot's action is twice ours
    assert value[0].item() == pytest.approx(expected, rel=1e-5)


def test_imagined_steps_count_by_their_weight_and_by_whether_they_come() -> None:
    agent = mve(horizon=1, discount=0.9, imagined_noise=0.0, imagined_weight=0.2)
    path = agent.imagine(BATCH)
    _, values = agent.path_target(path)
    loss = agent._imagined_loss(path, values, torch.ones(2))
    action = math.tanh(-0.75)
    wanted = by_hand(3.0, 1, 0.9)
    assert values[1, 0, 0].item() == pytest.approx(wanted, rel=1e-5)
    error = wanted - (3 + 2 * action)
    assert loss.item() == pytest.approx(0.5 * error**2 / 2, rel=1e-5)  # the second row had ended


def test_a_path_ends_without_noise_and_only_what_counts_has_any() -> None:
    for config, noisy in (({}, True), ({"imagined_weight": 0.0}, False), ({"steve": True}, False)):
        agent = mve(horizon=2, imagined_noise=0.5, **config)
        path = agent.imagine(BATCH)
        clean = torch.tanh(-0.25 * path.x)
        assert torch.equal(path.action[-1], clean[-1])
        assert torch.equal(path.action, clean) != noisy


def test_the_actor_learns_from_real_states_alone_by_the_mean_critic() -> None:
    agent = mve(critics=2, steve=True)
    write_critic(agent.critic, (1.0, 2.0), (3.0, 6.0))
    x = torch.tensor([[1.0], [2.0]])
    expected = -sum(2 * v + 4 * math.tanh(0.5 * v) for v in (1, 2)) / 2
    assert agent.actor_loss(x).item() == pytest.approx(expected, rel=1e-5)


def test_without_a_horizon_it_is_ddpg_bit_for_bit() -> None:
    small = {"batch_size": 8, "actor_widths": (16,), "critic_widths": (16,), "priority": 0.5}
    torch.manual_seed(3)
    plain = DDPG(WIDE, ARM, DDPGConfig.model_validate(small), CPU)
    torch.manual_seed(3)
    ours = MVE(WIDE, ARM, MVEConfig.model_validate({**small, "horizon": 0}), CPU)
    for seed in range(5):
        batch = random_batch(plain, WIDE, ARM, torch.Generator().manual_seed(seed))
        left, right = plain.train(batch), ours.train(batch)
        assert left.metrics.keys() == right.metrics.keys()
        assert all(torch.equal(left.metrics[k], right.metrics[k]) for k in left.metrics)
        assert left.priority is not None
        assert right.priority is not None
        assert torch.equal(left.priority, right.priority)
    a, b = plain.state_dict(), ours.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_before_the_model_is_believed_targets_are_ddpgs() -> None:
    small = {"batch_size": 8, "actor_widths": (16,), "critic_widths": (16,)}
    torch.manual_seed(3)
    plain = DDPG(WIDE, ARM, DDPGConfig.model_validate(small), CPU)
    torch.manual_seed(3)
    waiting = {"model_widths": (8,), "warm_up": 3}
    ours = MVE(WIDE, ARM, MVEConfig.model_validate({**small, **waiting}), CPU)
    for seed in range(4):
        batch = random_batch(plain, WIDE, ARM, torch.Generator().manual_seed(seed))
        left, right = (agent.train(batch).metrics["loss/critic"] for agent in (plain, ours))
        assert torch.isclose(left, right, rtol=1e-4) == (seed < 3), seed
