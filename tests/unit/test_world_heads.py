"""Heads: the reference's numbers, and how they start."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.blocks.policies import Categorical, Normal
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
