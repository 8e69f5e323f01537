"""Vectors in units of their own, and rewards less an offset."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import load, save

from agents.world.vector_units import WEIGHT
from robot_client.schema import REWARD
from tests.unit.worlds import WORLDS, batch_of, make

SPACE = spaces.Dict(
    angles=spaces.Box(-4, 4, (2, 2), np.float32),
    rates=spaces.Box(-900, 900, (3,), np.float32),
    mode=spaces.Discrete(3),
)
WINDOWS, ROWS = 4, 6


def sensed(seed):
    """Raw observations (B, T, ...)."""
    g = torch.Generator().manual_seed(seed)
    return {
        "angles": 0.1 * torch.randn(WINDOWS, ROWS, 2, 2, generator=g) + 1.0,
        "rates": 200 * torch.randn(WINDOWS, ROWS, 3, generator=g) - 50,
        "mode": torch.randint(3, (WINDOWS, ROWS), generator=g),
    }


def test_numbers_in_deviations_from_their_mean():
    agent, seen = make("daydreamer", space=SPACE, vectors="own"), sensed(0)
    agent.world.encoder.see(seen)
    decoder = agent.world.decoder
    for key, width in {"angles": 4, "rates": 3}.items():
        flat = seen[key].reshape(-1, width)
        expected = (flat - flat.mean(0)) / flat.std(0, unbiased=False)
        got = decoder.numbers(key, seen[key])
        torch.testing.assert_close(got, expected.reshape(WINDOWS, ROWS, width))


def test_errors_count_alike_whatever_the_unit():
    """A prediction of zero, the mean, costs the weight for each number."""
    agent, seen = make("daydreamer", space=SPACE, vectors="own"), sensed(1)
    agent.world.encoder.see(seen)
    none = {"angles": torch.zeros(WINDOWS, ROWS, 4), "rates": torch.zeros(WINDOWS, ROWS, 3)}
    losses = agent.world.decoder.loss(none, seen)
    torch.testing.assert_close(losses["angles"].mean(), torch.tensor(WEIGHT * 4))
    torch.testing.assert_close(losses["rates"].mean(), torch.tensor(WEIGHT * 3))


def test_what_never_moves_is_not_blown_up():
    agent, seen = make("daydreamer", space=SPACE, vectors="own"), sensed(2)
    seen["rates"] = torch.zeros_like(seen["rates"])
    agent.world.encoder.see(seen)
    moved = torch.full((1, 1, 3), 1e-3)
    assert agent.world.decoder.numbers("rates", moved).abs().max() < 0.11


@pytest.mark.parametrize("name", WORLDS)
def test_units_are_learned_and_kept(name):
    first, second = (make(name, space=SPACE, vectors="own") for _ in range(2))
    x = sensed(4)["rates"]
    before = first.world.decoder.numbers("rates", x)
    first.train(batch_of(first, space=SPACE))
    second.load_state_dict(load(save(first.state_dict())))
    got, expected = (a.world.decoder.numbers("rates", x) for a in (second, first))
    assert torch.equal(got, expected)
    assert not torch.equal(before, expected)


@pytest.mark.parametrize("name", WORLDS)
def test_an_offset_is_taken_from_rewards(name):
    """Rewards of 5 and more less 5 teach what those of 0 and more do: what is predicted of them,
    what is dreamt, and what the third Dreamer's critic learns from replay."""
    batch = batch_of(make(name))
    more = batch | {REWARD: batch[REWARD] + 5.0}
    expected = after_four(make(name), batch)
    torch.testing.assert_close(
        after_four(make(name, reward_offset=5.0), more), expected, rtol=1e-3, atol=1e-5
    )
    as_given = after_four(make(name), more)
    assert abs(as_given["loss/reward"] - expected["loss/reward"]) > 1e-5


def after_four(agent, batch):
    """Metrics of the last of four updates; the third Dreamer's first ones hardly move it."""
    return [agent.train(batch).metrics for _ in range(4)][-1]
