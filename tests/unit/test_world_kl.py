"""What the divergence costs: by hand, and whom each loss moves."""

import pytest
import torch

from agents.blocks.dists import GaussianLatent, gaussian_latent, kl, one_hot_latent
from agents.world.kl import (
    BalancedKL,
    ControlledKL,
    DynRepKL,
    FreeNatsOfMean,
    FreeNatsPerStep,
)

BALANCED = {
    "v2": BalancedKL(floor=0.0),
    "daydreamer": ControlledKL(),
    "v3": DynRepKL(floor=0.0),
}


def rows(*nats):
    """Normal states (1, T, 1) whose divergence is `nats`, and both means, which get gradients."""
    post = torch.tensor(nats).mul(2).sqrt()[None, :, None].requires_grad_()
    prior = torch.zeros_like(post, requires_grad=True)
    one = torch.ones_like(post)
    return GaussianLatent(post, one), GaussianLatent(prior, one), (post, prior)


def grads(loss, wrt):
    found = torch.autograd.grad(loss, wrt, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for g, w in zip(found, wrt, strict=True)]


def moved(loss, wrt):
    return [g.flatten().ne(0).tolist() for g in grads(loss, wrt)]


def test_planet_clips_each_step():
    posterior, prior, means = rows(1.0, 5.0)
    found = FreeNatsPerStep(3.0)(posterior, prior)
    torch.testing.assert_close(found.losses["kl"], torch.tensor([[3.0, 5.0]]))
    torch.testing.assert_close(found.value, torch.tensor([[1.0, 5.0]]))
    assert moved(found.losses["kl"].mean(), means) == [[False, True]] * 2


@pytest.mark.parametrize(("nats", "cost", "moves"), [((1.0, 7.0), 4.0, True), ((1.0, 2.0), 3.0, 0)])
def test_v1_clips_the_mean(nats, cost, moves):
    posterior, prior, means = rows(*nats)
    loss = FreeNatsOfMean(3.0)(posterior, prior).losses["kl"]
    torch.testing.assert_close(loss, torch.tensor(cost))
    assert moved(loss, means) == [[bool(moves)] * 2] * 2


def test_v2_balances_and_clips_the_means():
    posterior, prior, (post, _) = rows(2.0, 8.0)
    found = BalancedKL(scale=0.1, share=0.8, floor=1.0)(posterior, prior)
    torch.testing.assert_close(found.losses["dyn"], torch.tensor(0.1 * 0.8 * 5))
    torch.testing.assert_close(found.losses["rep"], torch.tensor(0.1 * 0.2 * 5))
    # KL = (m - n)^2 / 2, so its gradient is the distance; the mean is over two rows.
    _, of_prior = grads(found.losses["dyn"], (post, prior.mean))
    torch.testing.assert_close(of_prior, -0.1 * 0.8 * post.detach() / 2)
    low = BalancedKL(floor=6.0)(posterior, prior).losses
    assert sum(low.values()).item() == pytest.approx(6.0)
    assert moved(sum(low.values()), (post, prior.mean)) == [[False] * 2] * 2


def test_v3_clips_each_step_and_weighs():
    posterior, prior, means = rows(0.5, 5.0)
    found = DynRepKL()(posterior, prior)
    torch.testing.assert_close(found.losses["dyn"], torch.tensor([[1.0, 5.0]]))
    torch.testing.assert_close(found.losses["rep"], torch.tensor([[0.1, 0.5]]))
    torch.testing.assert_close(found.value, torch.tensor([[0.5, 5.0]]))
    assert moved(sum(found.losses.values()).mean(), means) == [[False, True]] * 2


@pytest.mark.parametrize("kind", BALANCED)
def test_dyn_moves_the_prior_only_and_rep_the_posterior_only(kind):
    posterior, prior, means = rows(2.0, 8.0)
    losses = BALANCED[kind](posterior, prior).losses
    assert moved(losses["dyn"].mean(), means) == [[False] * 2, [True] * 2]
    assert moved(losses["rep"].mean(), means) == [[True] * 2, [False] * 2]


@pytest.mark.parametrize("strategy", [FreeNatsPerStep(1.0), DynRepKL(1.0, 1.0, 1.0)])
def test_the_floor_is_of_the_whole_step_and_not_of_each_group(strategy):
    """Of 32 groups at 0.1 nats nothing is clipped; one floor each would cost 32 nats."""
    posterior = torch.zeros(2, 3, 32, 2)
    # KL(uniform || (p, 1 - p)) = -log(4 p (1 - p)) / 2 = 0.1
    share = torch.tensor((1 - (1 - torch.tensor(-0.2).exp().item()) ** 0.5) / 2)
    prior = torch.stack([share.log(), (1 - share).log()]).expand_as(posterior)
    found = strategy(one_hot_latent(posterior, 0.0), one_hot_latent(prior, 0.0))
    torch.testing.assert_close(found.value, torch.full((2, 3), 3.2))
    for loss in found.losses.values():
        torch.testing.assert_close(loss, torch.full((2, 3), 3.2))


def test_daydreamer_seeks_its_target_with_the_scale():
    strategy = ControlledKL(target=3.5)
    posterior, prior, means = rows(2.0, 8.0)
    found = strategy(posterior, prior)
    total = sum(loss.mean() for loss in found.losses.values())
    assert total.item() == pytest.approx(5.0)
    strategy.update(torch.tensor([[1.0, 2.0]]))
    # What was computed before stays as it was, though the scale has moved.
    torch.testing.assert_close(grads(total, means)[1], -0.8 * means[0].detach() / 2)
    after = strategy(posterior, prior).losses
    assert sum(loss.mean() for loss in after.values()).item() == pytest.approx(5.0 / 1.1)
    strategy.update(torch.tensor([[2.0, 8.0]]))
    assert strategy.scale.current().item() == pytest.approx(1.0)


@pytest.mark.parametrize("strategy", [FreeNatsPerStep(), FreeNatsOfMean(), *BALANCED.values()])
def test_every_strategy_takes_either_state_and_has_one_interface(strategy):
    torch.manual_seed(0)
    normal = [gaussian_latent(torch.randn(2, 3, 2, 4)) for _ in range(2)]
    hot = [one_hot_latent(torch.randn(2, 3, 5, 4), unimix) for unimix in (0.0, 0.01)]
    for pair in (normal, hot):
        found = strategy(*pair)
        torch.testing.assert_close(found.value, kl(*pair))
        assert not found.value.requires_grad
        assert all(loss.shape in ((2, 3), ()) for loss in found.losses.values())
        strategy.update(found.value)
