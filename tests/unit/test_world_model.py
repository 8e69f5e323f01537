"""World models of every generation: filtering, starts, and how large they are."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.blocks.dists import gumbel
from agents.blocks.nets import MODERN, NORMED_ELU, RELU
from agents.world.cells import CellName
from agents.world.latents import LatentName
from agents.world.rssm import RSSM, Carry, Core, StartName, flatten
from agents.world.sizes import Size
from robot_client.schema import ACTION, IS_FIRST, IS_TERMINAL, REWARD
from tests.unit.worlds import WORLDS, batch_of, make

TOKENS, ACTIONS = 6, 3
STYLES = {"gru": RELU, "ln-gru": NORMED_ELU, "block-gru": MODERN}
KINDS = [
    (cell, latent, start)
    for cell in get_args(CellName)
    for latent in get_args(LatentName)
    for start in get_args(StartName)
]
EVERY = pytest.mark.parametrize(("cell", "latent", "start"), KINDS)


class Filter:
    """A core of some kind with random weights, also those of its start, and random windows."""

    def __init__(self, cell: CellName, latent: LatentName, start: StartName) -> None:
        torch.manual_seed(0)
        classes = 4 if latent == "categorical" else 0
        size = Size(deter=16, hidden=12, classes=classes, depth=1, units=8, stoch=4, blocks=4)
        core = Core(cell, latent, start, STYLES[cell], prior_layers=1)
        self.core = RSSM(TOKENS, ACTIONS, size, core).double()
        if self.core.start is not None:
            torch.nn.init.normal_(self.core.start)

    def noise(self, *lead: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        shape = (*lead, *self.core.latent.shape)
        if self.core.latent.noise == "normal":
            return torch.randn(shape, generator=generator, dtype=torch.float64)
        return gumbel(shape, generator, torch.float64)

    def window(self, b: int, t: int) -> tuple[torch.Tensor, ...]:
        tokens, actions = (torch.randn(b, t, n, dtype=torch.float64) for n in (TOKENS, ACTIONS))
        return tokens, actions, torch.zeros(b, t, dtype=torch.bool), self.noise(b, t)

    def carry(self, n: int) -> Carry:
        tokens, actions, first, noise = self.window(n, 3)
        return self.core.observe(tokens, actions, first, self.core.initial(n), noise)[0]


@EVERY
def test_a_window_equals_its_steps(cell: CellName, latent: LatentName, start: StartName) -> None:
    filtering = Filter(cell, latent, start)
    tokens, actions, first, noise = filtering.window(2, 5)
    first[0, 2] = True
    carry = begin = filtering.carry(2)
    end, states = filtering.core.observe(tokens, actions, first, begin, noise)
    for t in range(5):
        carry, state = filtering.core.step(
            tokens[:, t], actions[:, t], first[:, t], carry, noise[:, t]
        )
        for whole, one in zip(states, state, strict=True):
            torch.testing.assert_close(whole[:, t], one)
    for whole, one in zip(end, carry, strict=True):
        torch.testing.assert_close(whole, one)


@EVERY
def test_a_reset_equals_a_fresh_start(cell: CellName, latent: LatentName, start: StartName) -> None:
    """TorchRL #4119 and #4128: neither state nor action from before an episode goes on in it."""
    filtering = Filter(cell, latent, start)
    tokens, actions, first, noise = filtering.window(2, 6)
    first[:, 3] = True
    _, states = filtering.core.observe(tokens, actions, first, filtering.carry(2), noise)
    late = actions[:, 3:].clone()
    late[:, 0] = 0
    never = torch.zeros(2, 3, dtype=torch.bool)
    _, fresh = filtering.core.observe(
        tokens[:, 3:], late, never, filtering.core.initial(2), noise[:, 3:]
    )
    for whole, part in zip(states, fresh, strict=True):
        torch.testing.assert_close(whole[:, 3:], part)


@EVERY
def test_imagination_advances_by_the_action_and_agrees_with_the_filter(
    cell: CellName, latent: LatentName, start: StartName
) -> None:
    """TorchRL #3236: each step goes on from the step before. What is filtered differs by what is
    seen alone, so both have one deterministic state after one action."""
    filtering = Filter(cell, latent, start)
    carry, noise = filtering.carry(4), filtering.noise(4)
    action = torch.randn(4, ACTIONS, dtype=torch.float64)
    tokens, _, first, _ = filtering.window(4, 1)
    for _ in range(4):
        following = filtering.core.imagine_step(carry, action, noise)
        other = filtering.core.imagine_step(carry, -action, noise)
        seen, _ = filtering.core.step(tokens[:, 0], action, first[:, 0], carry, noise)
        torch.testing.assert_close(seen.deter, following.deter)
        assert not torch.isclose(following.deter, carry.deter).all(-1).any()
        assert not torch.isclose(following.deter, other.deter).all(-1).any()
        carry = following


@pytest.mark.parametrize("latent", get_args(LatentName))
def test_a_learned_start_is_tanh_and_the_mode_of_what_it_expects(latent: LatentName) -> None:
    filtering = Filter("ln-gru", latent, "learned")
    core = filtering.core
    deter = torch.tanh(core.start)
    found = core.initial(2)
    torch.testing.assert_close(found.deter, deter.expand(2, -1))
    raw = core.prior(deter)
    mode = raw[0] if latent == "gaussian" else torch.eye(4).double()[raw.argmax(-1)]
    torch.testing.assert_close(found.stoch, mode.expand(2, *mode.shape))
    # It is learned, through the first row of a window.
    tokens, actions, first, noise = filtering.window(2, 2)
    zeros = Carry(torch.zeros_like(found.deter), torch.zeros_like(found.stoch))
    for reset in (False, True):
        first[:, 0] = reset
        _, states = core.observe(tokens, actions, first, zeros, noise)
        (grad,) = torch.autograd.grad(
            states.deter[:, 0].square().sum(), core.start, allow_unused=True
        )
        assert (grad is not None and grad.ne(0).any()) == reset


@pytest.mark.parametrize("name", [name for name in WORLDS if name != "dreamer"])
def test_without_stored_states_every_window_begins_as_an_episode_does(name: str) -> None:
    agent = make(name)
    if agent.world.rssm.start is not None:
        torch.nn.init.normal_(agent.world.rssm.start)
    batch = batch_of(agent)
    noise = agent.draw(*batch[REWARD].shape).posterior
    found = agent.world.filter(batch, noise)
    begun = dict(batch, prev_action=batch["prev_action"] + 0.5)
    begun[IS_FIRST] = batch[IS_FIRST].clone()
    begun[IS_FIRST][:, 0] = True
    for a, b in zip(found, agent.world.filter(begun, noise), strict=True):
        assert torch.equal(a, b)
    first = agent.world.rssm.initial(2)
    tokens = agent.world.encoder(batch)
    zeros = torch.zeros_like(batch[ACTION][:, 0])
    never = torch.zeros(2, dtype=torch.bool)
    _, state = agent.world.rssm.step(tokens[:, 0], zeros, never, first, noise[:, 0])
    torch.testing.assert_close(state.deter, found.deter[:, 0])


@pytest.mark.parametrize("name", WORLDS)
def test_a_state_knows_its_observation_and_the_actions_before_it(name: str) -> None:
    """Not the row's own action, which is taken after seeing it, and nothing that comes later."""
    agent = make(name)
    batch = batch_of(agent)
    noise = agent.draw(*batch[REWARD].shape).posterior
    before = agent.world.filter(batch, noise)
    acted, seen = dict(batch), dict(batch)
    acted[ACTION] = batch[ACTION].clone()
    acted[ACTION][:, 2] *= -0.5
    after = agent.world.filter(acted, noise)
    assert torch.equal(before.raw[:, :3], after.raw[:, :3])
    assert not torch.isclose(before.deter[:, 3], after.deter[:, 3]).all(-1).any()
    seen["vector"] = batch["vector"].clone()
    seen["vector"][:, 2] *= -0.5
    after = agent.world.filter(seen, noise)
    assert torch.equal(before.raw[:, :2], after.raw[:, :2])
    assert torch.equal(before.deter[:, :3], after.deter[:, :3])
    assert not torch.isclose(before.raw[:, 2], after.raw[:, 2]).flatten(1).all(-1).any()


@pytest.mark.parametrize("name", WORLDS)
def test_an_end_teaches_what_the_recipe_says(name: str) -> None:
    """The target is 0 at an end and else 1, or the discount where that is folded in."""
    scales = {"dreamer-v1": {"continue_scale": 10.0}, "dreamer-v2": {"continue_scale": 5.0}}
    agent = make(name, **scales.get(name, {}))
    batch = batch_of(agent)
    batch[IS_TERMINAL][:, -1] = True
    noise = agent.draw(*batch[REWARD].shape).posterior
    states = agent.world.filter(batch, noise)
    losses, _ = agent.world.losses(batch, states)
    head = agent.world.goes_on
    assert ("continue" in losses) == (head is not None) == (name != "planet")
    feat = torch.cat([states.deter, flatten(states.deter, states.stoch)], -1)
    survival = agent.world.survival(feat)
    if head is None:
        assert (survival == 1).all()
        return
    prob, spec = head(feat).prob(), agent.world.spec
    target = torch.full_like(prob, spec.discount if spec.folds_discount else 1.0)
    target[:, -1] = 0
    wanted = -(target * prob.log() + (1 - target) * (1 - prob).log())
    torch.testing.assert_close(losses["continue"], spec.continue_scale * wanted)
    torch.testing.assert_close(survival, prob if name == "dreamer" else prob * spec.discount)


CAMERA = spaces.Dict(image=spaces.Box(0, 255, (64, 64, 3), np.uint8))
LEGS = spaces.Dict(vector=spaces.Box(-np.inf, np.inf, (16,), np.float32))
SIX, TWELVE = (spaces.Box(-1, 1, (n,), np.float32) for n in (6, 12))


def dense(*widths: int) -> int:
    """Weights and biases of a chain of layers."""
    return sum(a * b + b for a, b in pairwise(widths))


def normed(*widths: int) -> int:
    """Of layers without bias, whose norm has a scale and an offset."""
    return sum(a * b + 2 * b for a, b in pairwise(widths))


def planet_eyes(depth: int) -> int:
    """Kernels 4, 4, 4, 4 from 3 channels to 1, 2, 4, 8 times the depth."""
    widths = (3, depth, 2 * depth, 4 * depth, 8 * depth)
    return sum(16 * a * b + b for a, b in pairwise(widths))


def planet_pictures(features: int, depth: int) -> int:
    """A layer to 32 times the depth, then kernels 5, 5, 6, 6 to 4, 2, 1 times it and 3 channels."""
    widths = (32 * depth, 4 * depth, 2 * depth, depth, 3)
    kernels = zip((5, 5, 6, 6), widths, widths[1:], strict=False)
    return dense(features, 32 * depth) + sum(k * k * a * b + b for k, a, b in kernels)


# Input layer, GRU (two kernels to three gates), posterior from 200 + 1024 and prior: 30 means and
# deviations each.
PLANET_CORE = dense(36, 200) + 2 * dense(200, 600) + dense(1224, 200, 60) + dense(200, 200, 60)
# 32 * 32 classes; the gates, of state and input, have a norm in place of a bias.
V2_CORE = dense(1030, 200) + normed(400, 600) + dense(1736, 200, 1024) + dense(200, 200, 1024)
# The start of 256, and a prior of three layers; every layer but the last has a norm.
A1_CORE = (
    256
    + normed(1036, 256)
    + normed(512, 768)
    + normed(768, 256)
    + normed(256, 256, 256, 256)
    + 2 * dense(256, 1024)
)
A1_TRUNK = normed(1280, 512, 512, 512, 512)
WHOLE: dict[str, tuple[dict[str, Any], spaces.Dict, Any, dict[str, int]]] = {
    "planet": (
        {"size": "paper"},
        CAMERA,
        SIX,
        {
            "encoder": planet_eyes(32),
            "rssm": PLANET_CORE,
            "decoder": planet_pictures(230, 32),
            "reward": dense(230, 300, 300, 300, 1),
        },
    ),
    "dreamer-v1": (
        {"size": "paper"},
        CAMERA,
        SIX,
        {
            "encoder": planet_eyes(32),
            "rssm": PLANET_CORE,
            "decoder": planet_pictures(230, 32),
            "reward": dense(230, 400, 400, 1),
            "policy": dense(230, 400, 400, 400, 400, 12),
            "value": dense(230, 400, 400, 400, 1),
        },
    ),
    "dreamer-v2": (
        {"size": "dmc"},
        CAMERA,
        SIX,
        {
            "encoder": planet_eyes(48),
            "rssm": V2_CORE,
            "decoder": planet_pictures(1224, 48),
            "reward": dense(1224, 400, 400, 400, 400, 1),
            "policy": dense(1224, 400, 400, 400, 400, 12),
            "value": dense(1224, 400, 400, 400, 400, 1),
        },
    ),
    "daydreamer": (
        {"size": "a1"},
        LEGS,
        TWELVE,
        {
            "encoder": normed(16, 512, 512, 512, 512),
            "rssm": A1_CORE,
            "decoder": A1_TRUNK + dense(512, 16),
            "reward": A1_TRUNK + dense(512, 1),
            "goes_on": A1_TRUNK + dense(512, 1),
            "policy": A1_TRUNK + dense(512, 24),
            "value": A1_TRUNK + dense(512, 1),
        },
    ),
}
TOTALS = {"planet": 5_293_820, "dreamer-v1": 6_288_833, "dreamer-v2": 15_603_785}


@pytest.mark.parametrize("name", WHOLE)
def test_the_papers_sizes_have_as_many_parameters_as_by_hand(name: str) -> None:
    config, space, action, wanted = WHOLE[name]
    agent = make(name, action, space, **config)
    parts = dict(agent.world.named_children())
    if agent.behaviour is not None:
        parts |= {key: getattr(agent.behaviour, key) for key in ("policy", "value")}
    counts = {key: sum(p.numel() for p in part.parameters()) for key, part in parts.items()}
    assert {key: count for key, count in counts.items() if count} == wanted
    assert name not in TOTALS or sum(wanted.values()) == TOTALS[name]
