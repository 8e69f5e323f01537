"""Heads: the reference's numbers, and how they start."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.blocks.nets import ELU, MODERN, NORMED_ELU
from agents.blocks.policies import Categorical, Normal, TanhNormal, TruncatedNormal
from agents.world.heads import (
    BernoulliHead,
    CategoricalPolicy,
    NormalPolicy,
    ScalarHead,
    policy_head,
)
from tests.oracle_cases import close, load, load_dense, load_mlp, tensor

FILE = "5_layers_heads"


def test_the_continuous_policy_equals_the_reference():
    given, expected, _ = load(FILE, "policy_bounded_normal")
    head = NormalPolicy(6, 8, 1, 2).double()
    load_mlp(head.mlp, given, "w:pol/mlp")
    load_dense(head.mean, given, "w:pol/head/action/mean")
    load_dense(head.std, given, "w:pol/head/action/stddev")
    dist = head(tensor(given["x"]))
    close(dist.mean, expected["mean"])
    close(dist.std, expected["std"])
    close(dist.log_prob(tensor(given["event"])), expected["logp"])
    close(dist.sample(tensor(given["noise"])), expected["sample_given_noise"])


def test_the_discrete_policy_equals_the_reference():
    given, expected, _ = load(FILE, "policy_categorical")
    head = CategoricalPolicy(6, 8, 1, 5).double()
    load_mlp(head.mlp, given, "w:pol/mlp")
    load_dense(head.out, given, "w:pol/head/action/logits")
    dist = head(tensor(given["x"]))
    close(dist.log_prob(tensor(given["event"])), expected["logp"])
    close(dist.entropy(), expected["entropy"])


def test_the_continue_head_equals_the_reference():
    given, expected, _ = load(FILE, "continue_binary")
    head = BernoulliHead(6, 8, 1).double()
    load_mlp(head.mlp, given, "w:con/mlp")
    load_dense(head.out, given, "w:con/head/logit")
    dist = head(tensor(given["x"]))
    close(dist.prob(), expected["prob1"])
    close(dist.loss(tensor(given["target"])), expected["loss"])


@pytest.mark.parametrize("kind", ["normal", "symlog-mse", "twohot"])
def test_numbers_start_at_exactly_zero(kind):
    head = ScalarHead(kind, 10, 16, 1, outscale=0.0)
    assert (head(torch.randn(3, 4, 10)).pred() == torch.zeros(3, 4)).all()


@pytest.mark.parametrize(
    ("space", "dist"),
    [(spaces.Discrete(4), Categorical), (spaces.Box(-1, 1, (4,), np.float32), Normal)],
)
def test_policies_start_almost_undecided(space, dist):
    torch.manual_seed(0)
    start = policy_head(10, 16, space)(torch.randn(50, 10))
    assert isinstance(start, dist)
    levels = start.log_probs.exp() - 0.25 if dist is Categorical else start.mean
    assert 0 < levels.abs().max() < 0.1


@pytest.mark.parametrize("kind", ["normal", "symlog-mse", "twohot"])
def test_every_regression_learns_numbers_and_has_one_interface(kind):
    torch.manual_seed(0)
    head = ScalarHead(kind, 1, 16, 1, outscale=0.0)
    x = torch.tensor([[-1.0], [0.0], [1.0]])
    target = torch.tensor([-3.0, 0.5, 8.0])
    optimizer = torch.optim.Adam(head.parameters(), 0.03)
    for _ in range(300):
        optimizer.zero_grad()
        head(x).loss(target).mean().backward()
        optimizer.step()
    torch.testing.assert_close(head(x).pred(), target, rtol=0.05, atol=0.1)
    assert torch.equal(head(x)[1:].pred(), head(x).pred()[1:])


@pytest.mark.parametrize("kind", ["normal", "symlog-mse", "twohot"])
def test_regressions_may_start_at_exactly_zero_and_are_wide(kind):
    head = ScalarHead(kind, 10, 16, 2, NORMED_ELU, outscale=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        found = head(torch.randn(3, 4, 10))
        assert torch.equal(found.pred(), torch.zeros(3, 4))
        assert found.loss(torch.ones(3, 4)).dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "dist", "std"),
    [
        ("tanh-normal", TanhNormal, 5.0001),
        ("truncated-normal", TruncatedNormal, 1.1),
        ("normal", Normal, 0.55),
        ("bounded-normal", Normal, 0.1 + 0.9 / (1 + np.exp(-2))),
    ],
)
def test_the_policies_of_every_generation(kind, dist, std):
    torch.manual_seed(0)
    box = spaces.Box(-1, 1, (3,), np.float32)
    head = policy_head(10, 16, box, kind=kind, layers=2, style=ELU, outscale=1e-6)
    found = head(torch.randn(7, 10))
    assert isinstance(found, dist)
    torch.testing.assert_close(found.std, torch.full((7, 3), std), rtol=1e-2, atol=1e-2)
    assert found.entropies().shape == found.sample(torch.randn(7, 3)).shape == (7, 3)
    assert found.log_prob(found.mode()).shape == found.entropy().shape == (7,)
    assert len([m for m in head.modules() if isinstance(m, torch.nn.ELU)]) == 2


def test_a_mixed_choice_keeps_its_floor():
    head = policy_head(10, 16, spaces.Discrete(4), unimix=0.1, style=MODERN, outscale=100.0)
    assert head(torch.randn(50, 10)).log_probs.exp().min().item() == pytest.approx(0.025, abs=1e-4)
