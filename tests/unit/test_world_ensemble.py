"""The ensemble: what it has seen often it agrees about, and what is new draws the explorer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from agents.world.agent import WorldAgent
from agents.world.ensemble import Ensemble
from agents.world.rssm import features
from robot_client.schema import ACTION, IS_FIRST, REWARD
from tests.unit.worlds import ACTORS, WORLDS, batch_of, make

SEEN = 0.5  # the only action that was ever taken


def taught(updates: int, members: int = 4) -> tuple[Ensemble, torch.Tensor]:
    """An ensemble that has learned what follows one action, and the features of then."""
    torch.manual_seed(0)
    ensemble = Ensemble(6, 2, 24, 5, members)
    optimizer = torch.optim.Adam(ensemble.parameters(), 3e-3)
    feat = torch.randn(64, 6)
    action = torch.full((64, 2), SEEN)
    target = torch.tanh(feat[:, :5] + action[:, :1])
    for _ in range(updates):
        optimizer.zero_grad()
        ensemble.loss(feat, action, target).mean().backward()
        optimizer.step()
    return ensemble, feat


@torch.no_grad()
def disagreement(ensemble: Ensemble, feat: torch.Tensor, action: float) -> float:
    found = ensemble.disagreement(feat, torch.full((len(feat), 2), action))
    return found.mean().item()


def test_disagreement_falls_on_what_is_seen_often_and_stays_on_what_is_not() -> None:
    fresh, feat = taught(0)
    often, _ = taught(200)
    before, after = (disagreement(e, feat, SEEN) for e in (fresh, often))
    assert after < 0.3 * before
    assert disagreement(often, feat, -1.0) > 3 * after


def test_disagreement_by_hand() -> None:
    """Members that say 0, 0 and 6 deviate by sqrt(8); about the second target all agree."""
    ensemble = Ensemble(3, 1, 4, 2, 3)
    with torch.no_grad():
        for parameter in ensemble.parameters():
            parameter.zero_()
        ensemble.layers[-1].bias[4] = 6.0
    feat, action = torch.zeros(2, 3), torch.zeros(2, 1)
    wanted = torch.full((2,), 8**0.5 / 2)
    torch.testing.assert_close(ensemble.disagreement(feat, action), wanted)
    # Half the squares of 0 - 1 and 0 - 2, twice; of 6 - 1 and 0 - 2.
    loss = ensemble.loss(feat, action, torch.tensor([[1.0, 2.0]]).expand(2, -1))
    torch.testing.assert_close(loss, torch.full((2,), (5.0 + 5.0 + 29.0) / 2))


def test_agreement_has_a_finite_gradient() -> None:
    ensemble = Ensemble(3, 1, 4, 2, 3)
    with torch.no_grad():
        for parameter in ensemble.parameters():
            parameter.zero_()
    feat = torch.zeros(2, 3, requires_grad=True)
    ensemble.disagreement(feat, torch.zeros(2, 1)).sum().backward()
    assert torch.isfinite(feat.grad).all()


def test_actions_beyond_one_are_not_new() -> None:
    """The robot clips them, and the core takes them as 1: no data can ever make them familiar."""
    ensemble, feat = taught(20)
    loud, one = (torch.full((len(feat), 2), x) for x in (7.0, 1.0))
    assert torch.equal(ensemble.disagreement(feat, loud), ensemble.disagreement(feat, one))


def test_what_follows_is_the_next_rows_state_after_the_rows_own_action() -> None:
    """And nothing follows from the last row of an episode."""
    agent = make("planet", ensemble=2)
    batch = batch_of(agent)
    batch[IS_FIRST][0, 3] = True
    states = agent.world.filter(batch, agent.draw(*batch[REWARD].shape).posterior)
    found = agent.world.losses(batch, states)[0]["ensemble"]
    assert found.shape == (2, 5)
    assert found[0, 2] == 0
    assert found.ne(0).sum() == 9
    feat = features(states.deter, states.stoch)
    pred = agent.world.ensemble(feat[1, 1], batch[ACTION][1, 1])
    wanted = 0.5 * (pred - states.stoch[1, 2].flatten()).square().sum()
    torch.testing.assert_close(found[1, 1], wanted)


def explorer(name: str, **config: Any) -> WorldAgent:
    return make(name, ensemble=3, exploit=0.25, explore=2.0, **config)


@pytest.mark.parametrize("name", ACTORS)
def test_a_dream_is_worth_its_rewards_and_what_is_new_in_it(name: str) -> None:
    agent = explorer(name)
    behaviour, world = agent.behaviour, agent._still
    batch = batch_of(agent)
    noise = agent.draw(*batch[REWARD].shape)
    states = agent.world.filter(batch, noise.posterior)
    dream = behaviour.dream(world, states, noise.dream, noise.action)
    judged = behaviour._judge(world, dream, torch.zeros(12, 4))
    extrinsic = 0.25 * world.reward(dream.feats).pred()
    torch.testing.assert_close(judged.reward[:, 0], extrinsic[:, 0])
    for step in range(3):
        novelty = world.ensemble.disagreement(dream.feats[:, step], dream.actions[:, step])
        wanted = extrinsic[:, step + 1] + 2.0 * novelty
        torch.testing.assert_close(judged.reward[:, step + 1], wanted)


def test_what_is_new_draws_the_policy_through_the_dynamics() -> None:
    """With no reward to gain, the novelty of the first action alone has a slope."""
    agent = make("dreamer-v1", ensemble=3, exploit=0.0, explore=1.0, horizon=1)
    batch = batch_of(agent)
    noise = agent.draw(*batch[REWARD].shape)
    states = agent.world.filter(batch, noise.posterior)
    dream = agent.behaviour.dream(agent._still, states, noise.dream, noise.action)
    reward = agent.behaviour._judge(agent._still, dream, torch.zeros(12, 2)).reward
    weights = [p for p in agent.behaviour.policy.parameters() if p.ndim == 2]
    grads = torch.autograd.grad(reward[:, 1].sum(), weights)
    assert all(grad.any() for grad in grads)


def test_a_planner_that_explores_prefers_the_action_never_taken() -> None:
    agent = make("planet", ensemble=4, exploit=0.0, explore=1.0, batch_size=8, learning_rate=3e-3)
    batch = batch_of(agent)
    batch[ACTION] = torch.full_like(batch[ACTION], SEEN)
    batch["prev_action"] = torch.full_like(batch["prev_action"], SEEN)
    for _ in range(100):
        agent.train(batch)
    acting = agent.acting()
    with torch.no_grad():
        states = agent.world.filter(batch, agent.draw(8, 6).posterior)
        inputs = {
            "in_carry_deter": states.deter[:, -2],
            "in_carry_stoch": states.stoch[:, -2],
            "in_noise_stoch": torch.zeros_like(states.stoch[:, -2]),
        }
        seen, new = (
            acting.graphs["imagine"](inputs | {"in_action": torch.full((8, 2), x)})["out_reward"]
            for x in (SEEN, -1.0)
        )
    assert (new > seen).all()
    assert new.mean() > 1.4 * seen.mean()


@pytest.mark.parametrize("name", WORLDS)
def test_to_explore_takes_an_ensemble(name: str) -> None:
    with pytest.raises(ValidationError, match="an ensemble of at least 2"):
        make(name, explore=1.0)
    with pytest.raises(ValidationError, match="an ensemble of at least 2"):
        make(name, explore=1.0, ensemble=1)


def test_every_member_starts_as_a_network_of_its_own_does() -> None:
    """However many there are: else all would start near zero, and agree before they know."""
    torch.manual_seed(0)
    for members in (2, 16):
        for layer in Ensemble(100, 28, 128, 64, members).layers[::2]:
            assert layer.weight.std().item() == pytest.approx(128**-0.5, rel=0.05)
