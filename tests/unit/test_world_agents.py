"""Every generation: whom each loss moves, the settings of its paper, and that it learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agents.world.agent import WorldAgent
from agents.world.model import CONTEXT
from robot_client.schema import IS_LAST, IS_TERMINAL, REWARD
from tests.unit.worlds import ACTORS, BOX, DISCRETE, WORLDS, batch_of, losses_of, make, moved, rates

SEEING = {"encoder", "rssm"}
MOVES = {
    "observation/vector": SEEING | {"decoder"},
    "reward": SEEING | {"reward"},
    "continue": SEEING | {"goes_on"},
    "ensemble": {"ensemble"},
    **dict.fromkeys(("kl", "dyn", "rep"), SEEING),
}
# So that the divergence moves, and that there is a continue head.
OPEN: dict[str, dict[str, Any]] = {
    "daydreamer": {},
    "dreamer": {"free_nats": 0.0, "replay_value_scale": 0.0},
    "dreamer-v1": {"free_nats": 0.0, "continue_scale": 10.0},
    "dreamer-v2": {"free_nats": 0.0, "continue_scale": 5.0},
    "planet": {"free_nats": 0.0},
}
BOTH = pytest.mark.parametrize("action", [BOX, DISCRETE], ids=["box", "discrete"])


def warm(agent: WorldAgent, action: Any) -> None:
    """Some updates: heads that start at zero have no gradient to pass on."""
    for _ in range(3):
        agent.train(batch_of(agent, action))


@pytest.mark.parametrize("name", WORLDS)
@BOTH
def test_whom_each_loss_moves(name: str, action: Any) -> None:
    agent = make(name, action, ensemble=2, **OPEN[name])
    warm(agent, action)
    losses = losses_of(agent, batch_of(agent, action))
    assert losses.keys() >= {"observation/vector", "reward", "ensemble"}
    assert ("continue" in losses) == (name != "planet")
    for loss_name, loss in losses.items():
        parts = (agent.world, agent.behaviour)
        for part in parts:
            if part is not None:
                part.zero_grad()
        loss.mean().backward(retain_graph=True)
        world, behaviour = (moved(part) for part in parts)
        if loss_name in ("policy", "value"):
            assert (world, behaviour) == (set(), {loss_name}), loss_name
        else:
            assert (world, behaviour) == (MOVES[loss_name], set()), loss_name
        assert agent._still is agent.world or not moved(agent._still)


@pytest.mark.parametrize("name", ["daydreamer", "dreamer-v1", "dreamer-v2"])
def test_box_actions_learn_through_the_dynamics_and_choices_by_reinforce(name: str) -> None:
    assert make(name).behaviour.through
    assert not make(name, DISCRETE).behaviour.through
    assert not make("dreamer").behaviour.through


@pytest.mark.parametrize("name", ["daydreamer", "dreamer-v1", "dreamer-v2"])
def test_the_policy_answers_for_every_imagined_reward_but_the_starts(name: str) -> None:
    agent = make(name)
    batch = batch_of(agent)
    noise = agent.draw(*batch[REWARD].shape)
    states = agent.world.filter(batch, noise.posterior)
    dream = agent.behaviour.dream(agent._still, states, noise.dream, noise.action)
    reward = agent._still.reward(dream.feats).pred()
    for step in range(agent.config.horizon + 1):
        agent.behaviour.zero_grad()
        reward[:, step].sum().backward(retain_graph=True)
        assert moved(agent.behaviour) == ({"policy"} if step else set())


def test_replay_value_of_the_third_dreamer_moves_the_model_too() -> None:
    agent = make("dreamer")
    warm(agent, BOX)
    losses = losses_of(agent, batch_of(agent))
    agent.world.zero_grad()
    agent.behaviour.zero_grad()
    losses["replay_value"].mean().backward()
    assert moved(agent.world) == SEEING
    assert moved(agent.behaviour) == {"value"}


@pytest.mark.parametrize("name", WORLDS)
def test_an_ensemble_only_watches(name: str) -> None:
    """Its gradient must not use up the norm to which the model's is clipped, either."""
    tight: dict[str, Any] = {"replay_value_scale": 0.0} if name == "dreamer" else {"clip": 1e-2}
    alone, watched = make(name, **tight), make(name, ensemble=3, **tight)
    batch = batch_of(alone)
    for _ in range(3):
        alone.train(batch)
        watched.train(batch)
    other = dict(watched.world.named_parameters())
    for key, parameter in alone.world.named_parameters():
        assert torch.equal(parameter, other[key]), key


@pytest.mark.parametrize("name", WORLDS)
def test_every_parameter_belongs_to_one_optimiser(name: str) -> None:
    agent = make(name, ensemble=2)
    parts = [p for o in agent._optimizers.values() for p in o._params]
    every = [*agent.world.parameters()]
    if agent.behaviour is not None:
        every += [p for p in agent.behaviour.parameters() if p.requires_grad]
    assert len(parts) == len({id(p) for p in parts}) == len(every)
    assert {id(p) for p in parts} == {id(p) for p in every}


@pytest.mark.parametrize("name", WORLDS)
@BOTH
def test_overfits_one_batch(name: str, action: Any) -> None:
    """Windows that each show their own still picture, which tells the reward."""
    agent = make(name, action, batch_size=4, **rates(name, 5e-3))
    batch = batch_of(agent, action)
    batch["vector"] = batch["vector"][:, :1].expand(batch["vector"].shape)
    batch[REWARD] = batch["vector"][..., 0]
    first = agent.train(batch).metrics
    for _ in range(60):
        last = agent.train(batch).metrics
    for key in ("loss/observation/vector", "loss/reward"):
        assert last[key] < 0.3 * first[key], key


@pytest.mark.parametrize("name", WORLDS)
def test_only_the_third_dreamer_demands_stored_states(name: str) -> None:
    agent = make(name)
    batch = batch_of(agent)
    stored = {f"context/{key}" for key in CONTEXT}
    assert agent.demand.context == (CONTEXT if name == "dreamer" else ())
    assert stored & batch.keys() == (stored if name == "dreamer" else set())
    assert agent.train(batch).context.keys() == (set(CONTEXT) if name == "dreamer" else set())


@pytest.mark.parametrize("name", WORLDS)
def test_a_time_limit_is_not_an_end(name: str) -> None:
    """sheeprl #252: what is cut teaches the continue head nothing and weighs like any state."""
    agent = make(name, **OPEN[name])
    batch = batch_of(agent)
    cut = batch | {IS_LAST: torch.ones_like(batch[IS_LAST])}
    over = cut | {IS_TERMINAL: torch.ones_like(batch[IS_TERMINAL])}
    noise = agent.draw(*batch[REWARD].shape)
    states = agent.world.filter(batch, noise.posterior)
    found = [agent.world.losses(b, states)[0] for b in (batch, cut, over)]
    for key in found[0]:
        torch.testing.assert_close(found[0][key].mean(), found[1][key].mean(), msg=key)
    if agent.world.goes_on is None:
        return
    assert not torch.allclose(found[0]["continue"], found[2]["continue"])
    if name == "dreamer":  # weighs by what is predicted
        return
    parts = [agent._behaviour_losses(agent.behaviour, b, states, noise)[0] for b in (cut, over)]
    assert parts[0]["value"].gt(0).all()
    assert not parts[1]["value"].any()


@pytest.mark.parametrize("name", ["daydreamer", "dreamer-v2"])
def test_the_target_critic_becomes_the_critic_after_updates_1_and_101(name: str) -> None:
    assert make(name).behaviour.slow.every == 100
    agent = make(name, slow_every=3, batch_length=2, horizon=1)
    same = []
    for _ in range(7):
        agent.train(batch_of(agent))
        pairs = zip(
            agent.behaviour.slow.net.parameters(), agent.behaviour.value.parameters(), strict=True
        )
        same.append(all(torch.equal(a, b) for a, b in pairs))
    assert same == [True, False, False, True, False, False, True]


def test_the_weight_of_daydreamers_divergence_seeks_its_target() -> None:
    agent = make("daydreamer", kl_target=100.0)
    scale = agent.world.divergence.scale
    for expected in (1.1**-1, 1.1**-2):
        agent.train(batch_of(agent))
        assert scale.current().item() == pytest.approx(expected)
    scale.target = 0.1
    agent.train(batch_of(agent))
    assert scale.current().item() == pytest.approx(1.1**-1)


@BOTH
def test_daydreamers_entropy_seeks_its_target(action: Any) -> None:
    """Too decided: the bonus grows. Too undecided: it shrinks."""
    agent = make("daydreamer", action, unimix=0.0)
    policy, scale = agent.behaviour.policy, agent.behaviour.entropy.scale
    last = policy.out if action is DISCRETE else policy.std
    for push, factor in ((-30.0, 1.1), (30.0, 1 / 1.1)):
        with torch.no_grad():
            scale.coefficient.fill_(0.5)
            last.weight.zero_()
            last.bias.fill_(push)
            if action is DISCRETE and push < 0:
                last.bias[0] = 0.0
        agent.train(batch_of(agent, action))
        torch.testing.assert_close(scale.current(), torch.full_like(scale.current(), 0.5 * factor))


def test_the_settings_of_the_papers() -> None:
    """What a slip of the pen would change unseen."""
    recipes = {n: make(n)._recipe for n in WORLDS} | {
        "choice": make("dreamer-v2", DISCRETE)._recipe
    }
    behaviours = {n: r.behaviour for n, r in recipes.items() if r.behaviour}
    assert {n: (b.target, b.baseline, b.reinforce) for n, b in behaviours.items()} == {
        "daydreamer": ("slow", "slow", 0.0),
        "dreamer": ("live", "live", 1.0),
        "dreamer-v1": ("live", "none", 0.0),
        "dreamer-v2": ("slow", "none", 0.0),
        "choice": ("slow", "slow", 1.0),
    }
    cores = {n: r.model.core for n, r in recipes.items()}
    assert {n: (c.cell, c.latent, c.start, c.prior_layers, c.unimix) for n, c in cores.items()} == {
        "daydreamer": ("ln-gru", "categorical", "learned", 3, 0.01),
        "dreamer": ("block-gru", "categorical", "zeros", 2, 0.01),
        "dreamer-v1": ("gru", "gaussian", "zeros", 1, 0.01),
        "dreamer-v2": ("ln-gru", "categorical", "zeros", 1, 0.0),
        "choice": ("ln-gru", "categorical", "zeros", 1, 0.0),
        "planet": ("gru", "gaussian", "zeros", 1, 0.01),
    }
    assert {n: (r.plan.method, r.act_noise) for n, r in recipes.items() if n != "choice"} == {
        **dict.fromkeys(ACTORS, ("mppi", 0.0)),
        "dreamer-v1": ("mppi", 0.3),
        "planet": ("cem", 0.0),
    }


def test_the_second_dreamer_decays_by_the_same_share_at_every_rate() -> None:
    agent = make("dreamer-v2", weight_decay=1e-3)
    for optimizer in agent._optimizers.values():
        assert optimizer.lr * optimizer.weight_decay == pytest.approx(1e-3)
