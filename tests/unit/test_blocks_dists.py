import math

import pytest
import torch

from agents.blocks.dists import (
    Bernoulli,
    free_bits,
    gaussian_latent,
    gumbel,
    image_mse,
    kl,
    one_hot_latent,
)
from agents.blocks.policies import bounded_normal, categorical
from tests.oracle_cases import cases, close, load, tensor
from tests.unit.worlds import kl_losses

FILE = "2_categorical_kl"


def _grads(loss, *wrt):
    found = torch.autograd.grad(loss, wrt, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for g, w in zip(found, wrt, strict=True)]


def _forced(index, classes):
    """Noise that makes the sample be `index`."""
    return 1e3 * torch.nn.functional.one_hot(index.long(), classes).double()


@pytest.mark.parametrize("case", cases(FILE))
def test_oracle(case):
    x, y, _ = load(FILE, case)
    post, prior = (tensor(x[name]).requires_grad_() for name in ("post", "prior"))
    q, p = one_hot_latent(post), one_hot_latent(prior)
    close(q.probs, y["post_probs_mixed"])
    close(p.probs, y["prior_probs_mixed"])
    close(kl(q, p), y["kl_post_prior"])
    close(q.entropy(), y["entropy_post"])
    close(p.entropy(), y["entropy_prior"])
    dyn, rep = kl_losses(q, p)
    losses = {"mean_dyn": dyn.mean(), "mean_rep": rep.mean()}
    losses["total"] = dyn.mean() + 0.1 * rep.mean()
    close(dyn, y["dyn"])
    close(rep, y["rep"])
    for name, loss in losses.items():
        for side, gradient in zip(("post", "prior"), _grads(loss, post, prior), strict=True):
            close(gradient, y[f"grad_{name}_wrt_{side}"])
    index = tensor(x["index"])
    sample = q.sample(_forced(index, post.shape[-1]))
    assert torch.equal(sample.argmax(-1), index.long())
    close(q.log_prob(sample), y["logp_of_index"])
    (gradient,) = _grads((sample * tensor(x["weights"])).sum(), post)
    close(gradient, y["grad_straight_through"])


def test_identical_latents_cost_the_floor_once_per_step_without_gradient():
    logits = torch.randn(2, 3, 32, 16, requires_grad=True)
    twin = logits.detach().clone().requires_grad_()
    latent, other = one_hot_latent(logits), one_hot_latent(twin)
    assert kl(latent, other).abs().max() < 1e-5
    for loss in kl_losses(latent, other):
        assert loss.tolist() == [[1.0] * 3] * 2
        assert not any(g.any() for g in _grads(loss.sum(), logits, twin))


def test_each_loss_moves_its_own_side_only():
    torch.manual_seed(0)
    post, prior = (5 * torch.randn(4, 8, 6) for _ in range(2))
    post.requires_grad_(), prior.requires_grad_()
    dyn, rep = kl_losses(one_hot_latent(post), one_hot_latent(prior))
    assert (dyn > 1).all()
    assert [bool(g.any()) for g in _grads(dyn.sum(), post, prior)] == [False, True]
    assert [bool(g.any()) for g in _grads(rep.sum(), post, prior)] == [True, False]


def test_free_bits_keep_what_is_above():
    divergence = torch.tensor([0.2, 1.5], requires_grad=True)
    free_bits(divergence, 1.0).sum().backward()
    assert divergence.grad.tolist() == [0.0, 1.0]


def test_the_gradient_of_a_sample_is_that_of_the_probabilities():
    logits, weights = torch.randn(3, 4, 5, requires_grad=True), torch.randn(3, 4, 5)
    latent = one_hot_latent(logits)
    noise = gumbel((3, 4, 5), torch.Generator().manual_seed(1))
    sample = latent.sample(noise)
    assert sorted(set(sample.flatten().tolist())) == [0.0, 1.0]
    assert torch.equal(sample.sum(-1), torch.ones(3, 4))
    (ours,) = _grads((sample * weights).sum(), logits)
    (expected,) = _grads((latent.probs * weights).sum(), logits)
    torch.testing.assert_close(ours, expected)


def test_samples_are_as_frequent_as_the_mixed_probabilities():
    logits = torch.tensor([[20.0, 0.0, 0.0, 0.0]]).expand(40_000, 1, 4)
    noise = gumbel((40_000, 1, 4), torch.Generator().manual_seed(2))
    frequency = one_hot_latent(logits).sample(noise).mean(0)[0]
    expected = torch.tensor([0.9925, 0.0025, 0.0025, 0.0025])
    assert ((frequency - expected).abs() < 4 * (expected / 40_000).sqrt()).all()


def test_without_noise_every_choice_is_the_mode():
    logits = torch.randn(5, 3, 4)
    latent, policy = one_hot_latent(logits), categorical(logits)
    assert torch.equal(latent.sample(torch.zeros(5, 3, 4)), latent.mode())
    assert torch.equal(policy.sample(torch.zeros(5, 3, 4)), policy.mode())
    normal = bounded_normal(logits, logits)
    assert torch.equal(normal.sample(torch.zeros(5, 3, 4)), normal.mode())


def test_gumbel_noise_is_gumbel_and_repeatable():
    draws = [gumbel((50_000,), torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)
    assert draws[0].isfinite().all()
    assert draws[0].mean().item() == pytest.approx(0.5772, abs=0.03)
    assert draws[0].std().item() == pytest.approx(math.pi / 6**0.5, abs=0.03)


def test_bounded_normal_agrees_with_torch_and_stays_bounded():
    mean, std = 50 * torch.randn(4, 3), 50 * torch.randn(4, 3)
    policy = bounded_normal(mean, std)
    assert (policy.mean.abs() <= 1).all()
    assert (policy.std >= 0.1).all()
    assert (policy.std <= 1 + 1e-6).all()
    reference = torch.distributions.Normal(policy.mean, policy.std)
    action = torch.randn(4, 3)
    torch.testing.assert_close(policy.log_prob(action), reference.log_prob(action).sum(-1))
    torch.testing.assert_close(policy.entropy(), reference.entropy().sum(-1))


def test_heads_are_computed_in_float32_whatever_comes_in():
    low = torch.randn(2, 4).bfloat16()
    policies = (categorical(low).log_probs, bounded_normal(low, low).std, Bernoulli(low).prob())
    assert {t.dtype for t in policies} == {torch.float32}
    assert Bernoulli(low).loss(torch.ones(2, 4)).dtype == torch.float32


def test_reconstruction_losses_sum_over_the_event():
    assert (
        image_mse(torch.zeros(2, 3, 4, 4, 3), torch.ones(2, 3, 4, 4, 3)).tolist()
        == [[48.0] * 3] * 2
    )


class _Choices(torch.nn.Module):
    def forward(self, logits, noise):
        latent, policy = one_hot_latent(logits), bounded_normal(logits, logits)
        unmixed, normal = one_hot_latent(logits, 0.0), gaussian_latent(logits[:, :2])
        choices = (latent, policy, categorical(logits), unmixed)
        return (*(x.sample(noise) for x in choices), normal.sample(noise[:, 0]))


def test_choices_are_captured_whole_and_repeat():
    logits, noise = torch.randn(2, 4, 5), torch.randn(2, 4, 5)
    graph = torch.export.export(_Choices(), (torch.randn(2, 4, 5), noise)).module()
    for ours, expected in zip(graph(logits, noise), _Choices()(logits, noise), strict=True):
        torch.testing.assert_close(ours, expected)


def test_gaussian_latents_agree_with_torch():
    torch.manual_seed(0)
    left, right = (gaussian_latent(torch.randn(4, 3, 2, 5)) for _ in range(2))
    ours = [torch.distributions.Normal(x.mean, x.std) for x in (left, right)]
    torch.testing.assert_close(kl(left, right), torch.distributions.kl_divergence(*ours).sum(-1))
    torch.testing.assert_close(left.entropy(), ours[0].entropy().sum(-1))
    value = torch.randn(4, 3, 5)
    torch.testing.assert_close(left.log_prob(value), ours[0].log_prob(value).sum(-1))


def test_gaussian_latents_by_hand():
    raw = torch.tensor([[[1.0, -2.0], [0.0, -100.0]]]).bfloat16()
    latent = gaussian_latent(raw)
    torch.testing.assert_close(latent.std, torch.tensor([[math.log(2) + 0.1, 0.1]]))
    torch.testing.assert_close(
        latent.sample(torch.tensor([[1.0, 10.0]])), torch.tensor([[1.1 + math.log(2), -1.0]])
    )
    assert torch.equal(latent.sample(torch.zeros(1, 2)), latent.mode())


def test_a_gaussian_sample_passes_gradient_to_both_its_parameters_until_detached():
    raw, noise = torch.randn(3, 2, 4, requires_grad=True), torch.randn(3, 4)
    (gradient,) = _grads(gaussian_latent(raw).sample(noise).sum(), raw)
    expected = torch.stack([torch.ones(3, 4), noise * torch.sigmoid(raw[:, 1])], 1)
    torch.testing.assert_close(gradient, expected)
    assert not gaussian_latent(raw).detach().sample(noise).requires_grad


@pytest.mark.parametrize("classes", [4, 16])
def test_an_unmixed_latent_stays_finite_where_probabilities_vanish(classes):
    logits = torch.zeros(2, 3, classes)
    logits[..., 0] = 200
    logits.requires_grad_()
    latent = one_hot_latent(logits, unimix=0.0)
    assert latent.probs[0, 0].tolist() == [1.0] + [0.0] * (classes - 1)
    torch.testing.assert_close(latent.log_probs, torch.log_softmax(logits, -1))
    assert latent.entropy().tolist() == [0.0, 0.0]
    uniform = one_hot_latent(torch.zeros(2, 3, classes), unimix=0.0)
    for divergence in (kl(latent, uniform), kl(uniform, latent)):
        assert divergence.isfinite().all()
        assert _grads(divergence.sum(), logits)[0].isfinite().all()
    torch.testing.assert_close(kl(latent, uniform), torch.full((2,), 3 * math.log(classes)))
