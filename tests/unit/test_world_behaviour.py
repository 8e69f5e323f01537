"""What a policy learns in a dream, by hand: in a world on a line whose every number is known."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from agents.blocks.actions import ActionCodec
from agents.blocks.control import FixedEntropy
from agents.blocks.normalize import MeanStdNormaliser, NoNormaliser
from agents.blocks.policies import Normal
from agents.blocks.scalars import SymlogNumber, UnitNormal, symlog
from agents.blocks.slow import CopiedCritic
from agents.world.behaviour import Behaviour, BehaviourSpec, Dream
from agents.world.coding import DREAMER_V1
from agents.world.model import ModelSpec, WorldModel
from agents.world.rssm import Carry, States
from agents.world.sizes import Size

ONE = Size(deter=1, hidden=1, classes=0, depth=1, units=1, stoch=1, blocks=1)
LINE = spaces.Box(-np.inf, np.inf, (1,), np.float32)
GAMMA = LAM = 0.5


class Line(nn.Module):
    """Every action moves by itself, every reward is the place one arrives at."""

    survival = WorldModel.survival
    ensemble = None

    def __init__(self, goes_on: Callable[[torch.Tensor], torch.Tensor] | None, folds: bool) -> None:
        super().__init__()
        self.size = ONE
        self.spec = ModelSpec(ONE, DREAMER_V1, discount=GAMMA, folds_discount=folds)
        self.codec, self.rssm = ActionCodec(LINE), self
        self.head = goes_on

    @property
    def goes_on(self) -> Any:
        head = self.head
        return head and (lambda feat: SimpleNamespace(prob=lambda: head(feat[..., 0])))

    def imagine_step(self, carry: Carry, action: torch.Tensor, noise: torch.Tensor) -> Carry:
        return Carry(carry.deter + action, 0 * carry.stoch)

    def reward(self, feat: torch.Tensor) -> UnitNormal:
        return UnitNormal(feat[..., 0])


class Always(nn.Module):
    """Takes one learned action, whatever it sees."""

    def __init__(self, action: float) -> None:
        super().__init__()
        self.action, self.std = nn.Parameter(torch.tensor([action])), nn.Parameter(torch.ones(1))

    def forward(self, feat: torch.Tensor) -> Normal:
        still = 0 * feat[..., :1]
        return Normal(self.action + still, self.std + still)


class Times(nn.Module):
    """A critic that values every place by its distance."""

    def __init__(self, worth: float) -> None:
        super().__init__()
        self.worth = nn.Parameter(torch.tensor(worth))

    def forward(self, feat: torch.Tensor) -> UnitNormal:
        return UnitNormal(self.worth * feat[..., 0])


class Setting:
    """A behaviour on the line, with the action 1/4 and a critic that says 3 x, and its dream."""

    def __init__(
        self,
        goes_on: Callable[[torch.Tensor], torch.Tensor] | None = None,
        folds: bool = False,
        ended: bool = False,
        horizon: int = 2,
        starts: tuple[float, ...] = (1.0,),
        **spec: Any,
    ) -> None:
        defaults: dict[str, Any] = {
            "reinforce": 0.0,
            "baseline": "none",
            "advantage": NoNormaliser,
            "entropy": lambda _: FixedEntropy(0.0),
            "value": "normal",
            "slow": None,
        }
        torch.manual_seed(0)
        self.world = Line(goes_on, folds)
        given = BehaviourSpec(**(defaults | {"horizon": horizon, "return_lambda": LAM} | spec))
        self.behaviour = Behaviour(self.world, LINE, given)
        self.behaviour.policy, self.behaviour.value = Always(0.25), Times(3.0)
        if given.slow is not None:
            self.behaviour.slow = given.slow(Times(2.0))
        place = torch.tensor(starts)[None, :, None]
        self.states = States(place, torch.zeros_like(place), torch.zeros(1))
        self.ended = torch.full((len(starts),), ended)

    def dream(self) -> Dream:
        rows = len(self.ended)
        noise = torch.zeros(self.behaviour.spec.horizon + 1, rows, 1)
        return self.behaviour.dream(self.world, self.states, noise[1:], noise)

    def losses(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        return self.behaviour.losses(self.world, self.dream(), self.ended)[:2]

    def slope(self) -> float:
        """Of the policy's loss, with respect to its action."""
        loss = self.losses()[0]["policy"].mean()
        return torch.autograd.grad(loss, self.behaviour.policy.action)[0].item()


# From x0 = 1 with the action a: x1 = 1 + a, x2 = 1 + 2 a; v(x) = 3 x.
# R1 = x2 + 1/2 v(x2) = 2.5 x2, the last state being worth its value;
# R0 = x1 + 1/2 [1/2 v(x1) + 1/2 R1] = 1.75 x1 + 0.625 x2.
def test_returns_of_a_dream_by_hand() -> None:
    losses, returns = Setting().losses()
    torch.testing.assert_close(returns, torch.tensor([[1.75 * 1.25 + 0.625 * 1.5, 2.5 * 1.5]]))
    # Without a continue head the weights are 1 and 1/2.
    torch.testing.assert_close(losses["policy"], -returns * torch.tensor([[1.0, 0.5]]))
    error = returns - 3 * torch.tensor([[1.0, 1.25]])
    torch.testing.assert_close(losses["value"], 0.5 * error**2 * torch.tensor([[1.0, 0.5]]))


def test_returns_are_of_numbers_and_not_of_what_heads_put_out() -> None:
    """TorchRL #4066: the same world, told by heads that put out symlogs."""
    setting = Setting()
    setting.world.reward = lambda feat: SymlogNumber(symlog(feat[..., 0]))
    setting.behaviour.value.forward = lambda feat: SymlogNumber(symlog(3 * feat[..., 0]))
    torch.testing.assert_close(setting.losses()[1], Setting().losses()[1])


def test_the_gradient_of_the_imagined_return_by_hand() -> None:
    """dR0/da = 1.75 + 2 * 0.625 = 3 and dR1/da = 5, half of which counts; mean over two states."""
    assert Setting().slope() == pytest.approx(-(3.0 + 0.5 * 5.0) / 2)


def test_the_baseline_is_part_of_the_objective_by_hand() -> None:
    """The critic's 3 x1 is what the second return is compared with; dv(x1)/da = 3."""
    assert Setting(baseline="live").slope() == pytest.approx(-(3.0 + 0.5 * (5.0 - 3.0)) / 2)


def test_the_target_may_be_a_slow_critic_by_hand() -> None:
    """With v(x) = 2 x: R1 = 2 x2, R0 = x1 (1 + 1/2) + 1/4 R1; slopes 4 and 2.5."""
    slow = {"slow": lambda value: CopiedCritic(value), "slow_scale": 0.0, "target": "slow"}
    _, returns = Setting(**slow).losses()
    torch.testing.assert_close(returns, torch.tensor([[1.5 * 1.25 + 0.25 * 3.0, 3.0]]))
    assert Setting(**slow).slope() == pytest.approx(-(2.5 + 0.5 * 4.0) / 2)
    both = Setting(**slow, baseline="slow")
    assert both.slope() == pytest.approx(-(2.5 + 0.5 * (4.0 - 2.0)) / 2)
    assert Setting(**slow, baseline="live").slope() == pytest.approx(-(2.5 + 0.5 * 1.0) / 2)


def test_a_critic_that_is_not_there_is_missed() -> None:
    with pytest.raises(AssertionError, match="no slow critic"):
        Setting(target="slow").losses()


def test_reinforce_moves_by_the_likelihood_by_hand() -> None:
    """Noise 1 from a std of 1 gives a slope of 1 to log pi; the advantage has none."""
    setting = Setting(reinforce=1.0, baseline="live")
    noise = torch.ones(3, 1, 1)
    dream = setting.behaviour.dream(setting.world, setting.states, noise[1:], noise)
    torch.testing.assert_close(dream.feats[0, :, 0], torch.tensor([1.0, 2.25, 3.5]))
    losses, returns, _ = setting.behaviour.losses(setting.world, dream, setting.ended)
    advantage = returns - 3 * dream.feats[:, :-1, 0]
    (grad,) = torch.autograd.grad(losses["policy"].mean(), setting.behaviour.policy.action)
    wanted = -(advantage * torch.tensor([[1.0, 0.5]])).mean()
    torch.testing.assert_close(grad, wanted[None])
    assert not dream.feats.requires_grad


def test_mixed_gradients_are_their_shares() -> None:
    """Without noise log pi has no slope in the action, so only the dynamics' share is left."""
    assert Setting(reinforce=0.9).slope() == pytest.approx(0.1 * Setting().slope(), rel=1e-5)


def ends_beyond(place: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: (x < place).float()


def test_an_imagined_end_ends_the_return_by_hand() -> None:
    """TorchRL #4074. Arriving at x1 ends it: R0 = x1, and nothing after it counts."""
    setting = Setting(ends_beyond(1.2), baseline="live")
    losses, returns = setting.losses()
    torch.testing.assert_close(returns[0, 0].item(), 1.25)
    assert losses["policy"][0, 1] == losses["value"][0, 1] == 0
    assert setting.slope() == pytest.approx(-1.0 / 2)


@pytest.mark.parametrize(
    ("folds", "ended", "expected"),
    [
        # The head predicts 0.8 everywhere. It knows of the end only: the start counts by what is
        # true of it, each later state by the product of 0.8 * discount on the way there.
        (False, False, [1.0, 0.4, 0.16]),
        (False, True, [0.0, 0.0, 0.0]),
        # It predicts the discount as well: the start counts by what is predicted of it.
        (True, False, [0.8, 0.64, 0.512]),
        (True, True, [0.8, 0.64, 0.512]),
    ],
)
def test_weights_of_imagined_states(folds: bool, ended: bool, expected: list[float]) -> None:
    setting = Setting(lambda x: 0 * x + 0.8, folds, ended, horizon=3)
    setting.behaviour.entropy = FixedEntropy(1.0)
    losses, returns = setting.losses()
    bonus = setting.behaviour.policy(torch.zeros(1, 2)).entropy()
    found = losses["policy"] / -(returns + bonus)
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_weights_get_no_gradient() -> None:
    """A policy must not learn to count less what is bad."""
    scale = nn.Parameter(torch.tensor(0.8))
    setting = Setting(lambda x: 0 * x + scale, horizon=3, return_lambda=0.0)
    weights = setting.behaviour._weights(
        setting.world, setting.world.survival(setting.dream().feats).detach(), setting.ended
    )
    assert not weights.requires_grad
    losses, _ = setting.losses()
    (grad,) = torch.autograd.grad(losses["policy"].mean(), scale)
    # R_t = x + 0.5 * 0.8 * 3 x, so the slope of R_t is 1.5 x; the weights are 1, 0.4, 0.16.
    places = torch.tensor([1.25, 1.5, 1.75])
    wanted = -(1.5 * places * torch.tensor([1.0, 0.4, 0.16])).mean()
    torch.testing.assert_close(grad, wanted)


def test_what_the_rewards_are_worth_does_not_matter_when_standardised() -> None:
    setting = Setting(advantage=MeanStdNormaliser, starts=(1.0, -2.0, 0.5))
    losses, returns = setting.losses()
    standard = (returns - returns.mean()) / returns.std(correction=0)
    wanted = -standard * torch.tensor([1.0, 0.5])
    torch.testing.assert_close(losses["policy"], wanted, rtol=1e-4, atol=1e-5)


def test_the_policy_sees_features_without_their_past() -> None:
    """The gradient reaches an action through the actions before it only by the dynamics."""
    setting = Setting(horizon=2)

    class Follows(Always):
        def forward(self, feat: torch.Tensor) -> Normal:
            return Normal(self.action * feat[..., :1], self.std + 0 * feat[..., :1])

    setting.behaviour.policy = Follows(0.25)
    # x1 = (1 + a) x0 and x2 = x1 + a sg(x1): slopes 1, and 1 + sg(x1) = 2.25 instead of 2.5.
    assert setting.slope() == pytest.approx(-(1.75 + 0.625 * 2.25 + 0.5 * 2.5 * 2.25) / 2)


def test_a_dream_starts_without_a_past() -> None:
    setting = Setting()
    place = setting.states.deter.requires_grad_()
    dream = setting.dream()
    assert torch.autograd.grad(dream.feats.sum(), place, allow_unused=True) == (None,)
