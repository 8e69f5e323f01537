"""Controllers, entropy bonuses, advantage normalisers and slow critics, by hand."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from agents.blocks.control import Controller, EntropyTarget, FixedEntropy
from agents.blocks.normalize import MeanStdNormaliser, NoNormaliser, ReturnNormaliser
from agents.blocks.policies import normal_entropy
from agents.blocks.slow import AveragedCritic, CopiedCritic, LiveCritic
from agents.world.heads import ScalarHead, entropy_target


@pytest.mark.parametrize(
    ("measured", "above", "below"),
    [(3.9, 1.1, 1 / 1.1), (3.84, 1.0, 1.0), (3.2, 1.0, 1.0), (3.1, 1 / 1.1, 1.1)],
)
def test_a_coefficient_moves_outside_the_dead_band(measured, above, below):
    """Of the target 3.5 the band is 3.18..3.85."""
    for more_when, expected in (("above", above), ("below", below)):
        control = Controller((), 3.5, 1e-3, 10.0, more_when)
        control.update(torch.tensor([[measured - 1, measured + 1]]))
        assert control.current().item() == pytest.approx(expected)


def test_a_coefficient_stays_within_its_limits():
    control = Controller((), 3.5, 1e-3, 1.0, "above")
    control.update(torch.tensor(100.0))
    assert control.current().item() == 1.0
    for _ in range(100):
        control.update(torch.tensor(0.0))
    assert control.current().item() == pytest.approx(1e-3)
    assert control.state_dict()["coefficient"].item() == pytest.approx(1e-3)


def test_each_action_dimension_has_its_own_entropy_coefficient():
    """Shares of the range 1..3: 0, 0.5 (on target) and 1."""
    bonus = EntropyTarget(3, low=1.0, high=3.0, target=0.5)
    entropies = torch.tensor([1.0, 2.0, 3.0]).expand(4, 5, 3).clone().requires_grad_()
    assert bonus(entropies).tolist() == [[-1.5] * 5] * 4
    for _ in range(2):
        bonus.update(entropies)
    wanted = torch.tensor([1.0, 1.0, 1 / 1.21])  # the first would be 1.21, but 1 is the most
    torch.testing.assert_close(bonus.scale.current(), wanted)
    loss = bonus(entropies)
    torch.testing.assert_close(loss, torch.full((4, 5), -0.5 - 1 / 1.21))
    loss.sum().backward()
    torch.testing.assert_close(entropies.grad, -(wanted / 2).expand(4, 5, 3))


def test_too_little_entropy_raises_the_coefficient_again():
    bonus = EntropyTarget(1, low=0.0, high=1.0, target=0.4)
    for _ in range(3):
        bonus.update(torch.ones(2, 2, 1))
    bonus.update(torch.zeros(2, 2, 1))
    assert bonus.scale.current().item() == pytest.approx(1 / 1.21)


def test_a_fixed_bonus_is_of_all_dimensions():
    bonus = FixedEntropy(0.25)
    bonus.update(torch.ones(1, 1, 2))
    assert bonus(torch.tensor([[[1.0, 3.0]]])).tolist() == [[-1.0]]


def test_the_range_of_entropy_is_that_of_the_action_space():
    moves = entropy_target(spaces.Box(-1, 1, (2,), np.float32), 0.5)
    ends = torch.tensor([normal_entropy(0.1), normal_entropy(1.0)])
    torch.testing.assert_close(moves.shares(ends), torch.tensor([0.0, 1.0]))
    assert moves.scale.current().shape == (2,)
    choice = entropy_target(spaces.Discrete(6), 0.4)
    assert choice.shares(torch.tensor([math.log(6)])).item() == pytest.approx(1.0)
    assert choice.scale.current().shape == (1,)


ADVANTAGE = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
RETURNS = torch.tensor([[0.0, 100.0], [200.0, 1000.0]])


def test_advantages_are_left_alone_without_a_normaliser():
    assert torch.equal(NoNormaliser()(ADVANTAGE, RETURNS), ADVANTAGE)


def test_advantages_are_standardised_by_themselves():
    normaliser = MeanStdNormaliser()
    first = normaliser(ADVANTAGE, RETURNS)  # bias-corrected: as if these were all
    torch.testing.assert_close(first, (ADVANTAGE - 3) / math.sqrt(3.5), rtol=1e-4, atol=1e-4)
    second = normaliser(torch.zeros(2, 2), RETURNS)
    # The new batch weighs 0.01 of 0.0199, the old one 0.0099 of it.
    share = 0.0099 / 0.0199
    mean, square = 3 * share, 12.5 * share
    expected = torch.full((2, 2), -mean / math.sqrt(square - mean**2))
    torch.testing.assert_close(second, expected, rtol=1e-4, atol=1e-4)


def test_advantages_are_divided_by_the_range_of_the_returns():
    """Percentiles 15 and 880, a hundredth of them after one batch."""
    found = ReturnNormaliser()(ADVANTAGE, RETURNS)
    torch.testing.assert_close(found, ADVANTAGE / 8.65)


def test_advantages_keep_their_gradient():
    advantage = ADVANTAGE.clone().requires_grad_()
    for normaliser in (NoNormaliser(), MeanStdNormaliser(), ReturnNormaliser()):
        (grad,) = torch.autograd.grad(normaliser(advantage, RETURNS).sum(), advantage)
        assert (grad > 0).all()


def critic(value):
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, value)
    return net


def test_a_copied_critic_follows_every_few_updates():
    source = critic(0.0)
    slow = CopiedCritic(source, every=3)
    seen = []
    for n in range(1, 8):
        nn.init.constant_(source.weight, float(n))
        slow.update(source)
        seen.append(slow(source, torch.ones(1)).item())
    assert seen == [1, 1, 1, 4, 4, 4, 7]
    assert slow.state_dict()["updates"].item() == 7


def test_an_averaged_critic_moves_a_share_of_the_way():
    source = critic(0.0)
    slow = AveragedCritic(source, rate=0.25)
    nn.init.constant_(source.weight, 8.0)
    for expected in (2.0, 3.5):
        slow.update(source)
        assert slow(source, torch.ones(1)).item() == expected


@pytest.mark.parametrize("make", [AveragedCritic, CopiedCritic, lambda source: LiveCritic()])
def test_slow_critics_pass_gradient_to_the_features_only(make):
    torch.manual_seed(0)
    source = ScalarHead("normal", 3, 4, 1)
    slow = make(source)
    features = torch.randn(2, 3, requires_grad=True)
    slow(source, features).pred().sum().backward()
    assert features.grad.ne(0).any()
    assert all(p.grad is None for p in (*source.parameters(), *slow.parameters()))
    torch.testing.assert_close(slow(source, features).pred(), source(features).pred())


def test_the_live_critic_is_the_critic_and_stores_nothing():
    source = critic(1.0)
    live = LiveCritic()
    nn.init.constant_(source.weight, 5.0)
    live.update(source)
    assert live(source, torch.ones(1)).item() == 5.0
    assert live.state_dict() == {}
