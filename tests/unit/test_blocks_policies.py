"""Policies: against torch and quadrature, how they start, and as the robot runs them."""

import math

import numpy as np
import onnxruntime as ort
import pytest
import torch

from agents.blocks.policies import (
    Normal,
    TanhNormal,
    TruncatedNormal,
    bounded_normal,
    categorical,
    normal_entropy,
    tanh_normal,
    truncated_normal,
)
from agents.blocks.quantiles import lower_quantile, upper_tail

MOVES = [bounded_normal, tanh_normal, truncated_normal]
# Means and deviations that cut nothing, one side, and nearly everything.
MEANS = [0.0, 0.3, -0.9, 0.99, -0.5]
STDS = [0.1, 0.25, 0.4, 2.1, 1.0]


def truncated(dtype=torch.float32):
    return TruncatedNormal(torch.tensor(MEANS, dtype=dtype), torch.tensor(STDS, dtype=dtype))


def exact(policy, noise):
    """Samples by double-precision library functions."""
    normal = torch.distributions.Normal(policy.mean.double(), policy.std.double())
    low, high = normal.cdf(torch.tensor(-1.0)), normal.cdf(torch.tensor(1.0))
    return normal.icdf(low + (high - low) * torch.special.ndtr(noise.double()))


def grid(policy, count=200_001, limit=1.0):
    """Points of (-limit, limit), their distance, and the log-density there of each dimension."""
    points = torch.linspace(-limit, limit, count, dtype=policy.mean.dtype)
    each = type(policy)(policy.mean[:, None, None], policy.std[:, None, None])
    return points, 2 * limit / (count - 1), each.log_prob(points[None, :, None])


@pytest.mark.parametrize("make", MOVES)
def test_zero_noise_is_the_mode(make):
    policy = make(torch.randn(50, 3), torch.randn(50, 3))
    assert torch.equal(policy.sample(torch.zeros(50, 3)), policy.mode())


def test_the_tail_has_its_digits_and_the_quantile_is_its_inverse():
    x = torch.linspace(0, 6, 601, dtype=torch.float64)
    torch.testing.assert_close(upper_tail(x), torch.special.ndtr(-x), rtol=2e-7, atol=0)
    x = x[:550]
    torch.testing.assert_close(lower_quantile(torch.special.ndtr(-x)), -x, rtol=0, atol=3e-6)
    single = lower_quantile(torch.special.ndtr(-x).float())
    torch.testing.assert_close(single.double(), -x, rtol=0, atol=4e-6)


def test_truncated_samples_are_the_quantiles_of_their_noise():
    noise = torch.linspace(-4.5, 4.5, 1000)[:, None].expand(1000, 5)
    sample = truncated().sample(noise)
    torch.testing.assert_close(sample.double(), exact(truncated(), noise), rtol=0, atol=1e-5)
    assert (sample.abs() <= 1).all()
    assert (sample.diff(dim=0) >= -1e-6).all()


def test_truncated_samples_stay_within_bounds_whatever_the_noise():
    noise = torch.tensor([-1e3, -12.0, 12.0, 1e3])[:, None].expand(4, 5)
    sample = truncated().sample(noise)
    assert sample.isfinite().all()
    assert (sample.abs() <= 1).all()


def test_the_gradient_of_truncated_samples_is_that_of_the_exact_ones():
    noise = torch.tensor([-3.0, -0.7, 1e-4, 0.2, 2.5], dtype=torch.float64)
    grads = []
    for sampler in (TruncatedNormal.sample, exact):
        policy = truncated(torch.float64)
        policy.mean.requires_grad_(), policy.std.requires_grad_()
        sample = sampler(policy, noise)
        grads.append(torch.stack(torch.autograd.grad(sample.sum(), (policy.mean, policy.std))))
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


def test_gradients_are_finite_where_the_halves_meet():
    mean = torch.zeros(3, requires_grad=True)
    std = torch.full((3,), 0.5, requires_grad=True)
    TruncatedNormal(mean, std).sample(torch.tensor([0.0, 1e-30, -1e-30])).sum().backward()
    torch.testing.assert_close(mean.grad[0], torch.tensor(1.0))
    assert mean.grad.isfinite().all()
    assert std.grad.isfinite().all()


def test_truncated_density_and_entropy_by_quadrature():
    policy = truncated(torch.float64)
    _, step, log_prob = grid(policy)
    density = log_prob.exp()
    torch.testing.assert_close((density * step).sum(-1), torch.ones(5).double(), rtol=1e-4, atol=0)
    entropy = -(density * log_prob * step).sum(-1)
    torch.testing.assert_close(policy.entropies(), entropy, rtol=1e-4, atol=1e-4)
    assert policy.entropy() == policy.entropies().sum()


def test_a_wide_truncated_normal_is_nearly_uniform():
    wide = TruncatedNormal(torch.zeros(1), torch.full((1,), 100.0))
    assert wide.entropy().item() == pytest.approx(math.log(2), abs=1e-3)
    assert wide.log_prob(torch.tensor([0.7])).item() == pytest.approx(-math.log(2), abs=1e-3)


def test_truncated_normal_has_the_bounds_of_its_generation():
    raw = torch.tensor([[0.0, 50.0, -50.0]])
    policy = truncated_normal(raw, raw)
    torch.testing.assert_close(policy.std, torch.tensor([[1.1, 2.1, 0.1]]))
    torch.testing.assert_close(policy.mean, torch.tensor([[0.0, 1.0, -1.0]]))


def test_tanh_normal_starts_wide_and_its_mean_is_bounded():
    raw = torch.tensor([[0.0, 500.0, 5.0]])
    policy = tanh_normal(raw, torch.zeros(1, 3))
    torch.testing.assert_close(policy.std, torch.full((1, 3), 5.0001))
    torch.testing.assert_close(policy.mean, torch.tensor([[0.0, 5.0, 5 * math.tanh(1)]]))


def test_tanh_normal_agrees_with_torch():
    mean, std = torch.randn(4, 3), torch.rand(4, 3) + 0.1
    policy = TanhNormal(mean, std)
    reference = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, std),
        [torch.distributions.TanhTransform(cache_size=1)],
    )
    action = policy.sample(torch.randn(4, 3))
    torch.testing.assert_close(
        policy.log_prob(action), reference.log_prob(action).sum(-1), rtol=1e-4, atol=1e-4
    )


def test_tanh_normal_is_finite_on_the_bounds():
    policy = tanh_normal(torch.zeros(2, 1), torch.zeros(2, 1))
    assert policy.log_prob(torch.tensor([[1.0], [-1.0]])).isfinite().all()


@pytest.mark.parametrize(
    ("mean", "std", "within"), [(0.0, 0.3, 0.01), (1.0, 2.0, 0.01), (0.7, 6.0, 0.05)]
)
def test_tanh_entropy_is_close_to_its_integral(mean, std, within):
    """H = H(normal) + E[log(1 - tanh^2)], on a fine grid."""
    policy = TanhNormal(*torch.tensor([[[mean]], [[std]]], dtype=torch.float64))
    x = torch.linspace(-8, 8, 100_001, dtype=torch.float64)
    weight = torch.exp(-0.5 * x.square())
    # log(1 - tanh(y)^2) = -2 log cosh(y)
    slope = -2 * torch.logaddexp(mean + std * x, -mean - std * x) + 2 * math.log(2)
    expected = normal_entropy(std) + ((slope * weight).sum() / weight.sum()).item()
    assert policy.entropy().item() == pytest.approx(expected, abs=within)


def test_without_shift_a_normal_starts_in_the_middle():
    policy = bounded_normal(torch.zeros(2), torch.tensor([0.0, math.log(3)]), shift=0.0)
    torch.testing.assert_close(policy.std, torch.tensor([0.55, 0.775]))


def test_entropies_are_of_each_dimension():
    policy = Normal(torch.zeros(2, 3), torch.tensor([0.1, 0.5, 1.0]).expand(2, 3))
    expected = torch.tensor([normal_entropy(s) for s in (0.1, 0.5, 1.0)]).expand(2, 3)
    torch.testing.assert_close(policy.entropies(), expected)
    torch.testing.assert_close(policy.entropy(), expected.sum(-1))
    assert normal_entropy(1.0) == pytest.approx(1.4189385, abs=1e-6)
    assert categorical(torch.zeros(4, 8)).entropies().shape == (4, 1)


@pytest.mark.parametrize("unimix", [0.01, 0.1])
def test_mixed_choices_keep_a_floor(unimix):
    policy = categorical(torch.tensor([[200.0, 0.0, 0.0, 0.0]]), unimix)
    rest = unimix / 4
    expected = torch.tensor([[1 - 3 * rest, rest, rest, rest]])
    torch.testing.assert_close(policy.log_probs.exp(), expected)


def test_all_are_computed_in_float32_whatever_comes_in():
    low = torch.randn(2, 4).bfloat16()
    assert {make(low, low).std.dtype for make in MOVES} == {torch.float32}
    assert categorical(low, 0.1).log_probs.dtype == torch.float32


class Act(torch.nn.Module):
    def forward(self, mean, std, noise):
        moves = [make(mean, std).sample(noise) for make in MOVES]
        return (*moves, categorical(mean, 0.1).sample(noise))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_exported_samples_equal_torch(tmp_path):
    generator = torch.Generator().manual_seed(0)
    mean, std, noise = (torch.randn(20, 3, generator=generator) for _ in range(3))
    noise[:5] = 0
    program = torch.onnx.export(
        Act().eval(),
        (mean, std, noise),
        input_names=["mean", "std", "noise"],
        dynamo=True,
        verbose=False,
    )
    program.save(tmp_path / "act.onnx")
    session = ort.InferenceSession(tmp_path / "act.onnx", providers=["CPUExecutionProvider"])
    feed = {"mean": mean.numpy(), "std": std.numpy(), "noise": noise.numpy()}
    for got, want in zip(session.run(None, feed), Act()(mean, std, noise), strict=True):
        np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=2e-6)
