"""DDPG's, D4PG's and SAC's targets and losses by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.blocks.policies import Normal, TanhNormal
from agents.d4pg import D4PG, D4PGConfig
from agents.ddpg import DDPG, DDPGConfig
from agents.errors import UnsupportedSpace
from agents.sac import SAC, SACConfig, Temperature
from tests.oracle_cases import close, load, tensors

SEEN = spaces.Dict(x=spaces.Box(-9, 9, (1,), np.float32))
ARM = spaces.Box(-2, 2, (1,), np.float32)
CPU = torch.device("cpu")
BATCH = {
    "x": torch.tensor([[1.0], [2.0]]),
    "action": torch.tensor([[1.0], [-2.0]]),  # 0.5 and -1 of the range
    "return": torch.tensor([1.0, -1.0]),
    "discount": torch.tensor([0.9, 0.0]),
    "next/x": torch.tensor([[3.0], [4.0]]),
}
FLAT = {"actor_widths": (), "critic_widths": (), "batch_size": 2}


@torch.no_grad()
def write_critic(critic: Any, *members: tuple[float, float]) -> None:
    """Q = by_x x + by_a a, for each member."""
    critic.members.weights[0].copy_(torch.tensor(members)[..., None])
    critic.members.biases[0].zero_()


@torch.no_grad()
def write_actor(actor: Any, slope: float) -> None:
    """The raw action is slope x."""
    actor.mean.weight.fill_(slope)
    actor.mean.bias.zero_()


def ddpg(**config: Any) -> DDPG:
    torch.manual_seed(0)
    agent = DDPG(SEEN, ARM, DDPGConfig.model_validate({**FLAT, **config}), CPU)
    write_critic(agent.critic, (1.0, 2.0))
    write_actor(agent.actor, 0.5)
    write_critic(agent.slow_critic.net, (10.0, 20.0))
    write_actor(agent.slow_actor.net, -0.25)
    return agent


def test_ddpg_values_what_the_slow_actor_would_do_by_the_slow_critic() -> None:
    target = ddpg().target(BATCH)
    found = (target.reward + target.discount * target.following[:, 0]).tolist()
    assert found == pytest.approx([1 + 0.9 * (30 + 20 * math.tanh(-0.75)), -1.0])


def test_ddpg_losses_are_the_papers_and_actions_are_shares_of_their_range() -> None:
    agent = ddpg(critic_learning_rate=1e-9)
    wanted = [1 + 0.9 * (30 + 20 * math.tanh(-0.75)), -1.0]
    errors = [wanted[0] - (1 + 2 * 0.5), wanted[1] - (2 + 2 * -1)]
    metrics = agent.train(BATCH).metrics
    expected = sum(0.5 * e**2 for e in errors) / 2
    assert float(metrics["loss/critic"]) == pytest.approx(expected, rel=1e-5)
    expected = -sum(x + 2 * math.tanh(0.5 * x) for x in (1, 2)) / 2
    assert float(metrics["loss/actor"]) == pytest.approx(expected, rel=1e-5)


def test_the_actor_climbs_the_critic_and_leaves_it_alone() -> None:
    agent = ddpg(saturation=0.1)
    x = torch.tensor([[1.0], [2.0]])
    agent.actor_loss(x).backward()
    # d/dw of -2 tanh(w x) + 0.1 (w x)^2 at w = 0.5
    slopes = [-2 * v * (1 - math.tanh(0.5 * v) ** 2) + 0.1 * 2 * 0.5 * v**2 for v in (1, 2)]
    grad = agent.actor.mean.weight.grad
    assert grad is not None
    assert grad.item() == pytest.approx(sum(slopes) / 2, rel=1e-5)
    assert all(p.grad is None for p in agent.critic.parameters())


def test_targets_follow_by_their_rate() -> None:
    agent = ddpg(target_rate=0.25, critic_learning_rate=1e-9, actor_learning_rate=1e-9)
    agent.train(BATCH)
    found = agent.slow_critic.net.members.weights[0].flatten().tolist()
    assert found == pytest.approx([10 - 0.25 * 9, 20 - 0.25 * 18])
    assert agent.slow_actor.net.mean.weight.item() == pytest.approx(-0.25 + 0.25 * 0.75)


def test_d4pg_projects_the_slow_critics_distribution() -> None:
    config = D4PGConfig.model_validate({**FLAT, "atoms": 3, "low": -1, "high": 1})
    torch.manual_seed(0)
    agent = D4PG(SEEN, ARM, config, CPU)
    target = agent.target(BATCH)
    probs = torch.softmax(target.following, -1)
    assert agent.demand.n_step == 5
    wanted = agent.critic.head.project(probs, target.reward, target.discount)
    # The first: 1 + 0.9 (-1, 0, 1) is 0.1, 1 and beyond; the second is -1 and ends.
    p = probs[0]
    expected = torch.stack([torch.zeros(()), 0.9 * p[0], 0.1 * p[0] + p[1] + p[2]])
    torch.testing.assert_close(wanted[0], expected)
    assert wanted[1].tolist() == pytest.approx([1.0, 0.0, 0.0])


def sac(**config: Any) -> SAC:
    torch.manual_seed(0)
    full = SACConfig.model_validate({"widths": (), "batch_size": 2, **config})
    agent = SAC(SEEN, ARM, full, CPU)
    write_critic(agent.slow_critic.net, (10.0, 20.0), (11.0, -30.0))
    return agent


def test_sac_believes_the_lesser_critic_and_adds_entropy() -> None:
    agent = sac(temperature=0.7)
    agent._normal = lambda *shape: torch.full(shape, 0.4)  # type: ignore[method-assign]
    policy = agent.actor(BATCH["next/x"])
    raw = policy.mean + 0.4 * policy.std
    action = torch.tanh(raw)
    log_prob = Normal(policy.mean, policy.std).log_prob(raw)
    log_prob = log_prob - torch.log(1 - action.square()).sum(-1)
    x, a = BATCH["next/x"][:, 0], action[:, 0]
    value = torch.minimum(10 * x + 20 * a, 11 * x - 30 * a) - 0.7 * log_prob
    expected = BATCH["return"] + BATCH["discount"] * value
    torch.testing.assert_close(agent.target(BATCH), expected.detach())


def test_the_temperature_rises_when_there_is_too_little_entropy() -> None:
    temperature = Temperature(0.5, target=-1.0)
    for log_prob, sign in ((3.0, -1), (-3.0, 1)):
        temperature.log.grad = None
        temperature.loss(torch.tensor([log_prob])).backward()
        assert temperature.log.grad is not None
        # d/d log of -exp(log) (log_prob + target)
        assert temperature.log.grad.item() == pytest.approx(-0.5 * (log_prob - 1))
        assert np.sign(temperature.log.grad.item()) == sign
    fixed = sac(automatic=False, temperature=0.3)
    fixed.train(BATCH)
    assert fixed.temperature.current().item() == pytest.approx(0.3)


def test_the_density_of_squashed_numbers_is_the_golden_one() -> None:
    inputs, outputs, _ = load("8_other_algorithms", "tanh_gaussian_logprob")
    x = tensors(inputs)
    std = x["log_std"].exp()
    action, log_prob = TanhNormal(x["mean"], std).sample_with_log_prob(
        (x["pre_tanh"] - x["mean"]) / std
    )
    scale = (x["high"] - x["low"]) / 2
    close(action * scale + (x["high"] + x["low"]) / 2, outputs["action"])
    close(log_prob - scale.log().sum(), outputs["logp"])


@pytest.mark.parametrize(("cls", "config"), [(DDPG, DDPGConfig()), (SAC, SACConfig())])
def test_choices_and_unbounded_numbers_are_refused(cls: Any, config: Any) -> None:
    for space in (spaces.Discrete(2), spaces.Box(-np.inf, np.inf, (2,), np.float32)):
        with pytest.raises(UnsupportedSpace, match="expected a bounded Box"):
            cls(SEEN, space, config, CPU)
