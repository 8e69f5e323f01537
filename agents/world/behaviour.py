"""Actor and critic, and what they learn from dreams, for every generation.

All generations share one alignment: the action of imagined state t leads to state t + 1, whose
reward it earns, and the critic values what comes *after* a state. Dreamer V1 and V2 wrote the
reward of the state itself into its value; what the policy is told is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import nn

from agents.agent import Tensors
from agents.blocks.control import Entropy, FixedEntropy
from agents.blocks.normalize import MeanStdNormaliser, NoNormaliser, ReturnNormaliser
from agents.blocks.returns import (
    imagination_weights,
    lambda_return,
    policy_loss,
    replay_return,
    replay_value_loss,
    value_loss,
)
from agents.blocks.slow import AveragedCritic, LiveCritic, SlowCritic
from agents.world.heads import POLICY_OUTSCALE, PolicyKind, ScalarHead, ScalarKind, policy_head
from agents.world.model import WorldModel
from agents.world.rssm import Carry, States, features
from robot_client.bundle import NoiseKind
from robot_client.schema import IS_LAST, IS_TERMINAL, REWARD, ActionSpace

Critic = Literal["none", "live", "slow"]
Normaliser = NoNormaliser | MeanStdNormaliser | ReturnNormaliser


@dataclass(frozen=True)
class BehaviourSpec:
    """How actor and critic learn. The defaults are DreamerV3's.

    Args:
        policy: kind of the policy; for Discrete actions always "categorical".
        policy_layers, value_layers: hidden layers.
        policy_unimix: share of uniform in a categorical policy.
        policy_outscale, value_outscale: of the start of their last layers.
        reinforce: share of the policy's gradient that comes by its log-probability; the rest
            comes through the imagined dynamics.
        target: which critic values the imagined future.
        baseline: which critic's value the returns are compared with.
        advantage: makes the strategy that scales the comparison.
        entropy: makes the strategy that keeps the policy undecided, given the actions.
        value: kind of the critic.
        slow: makes the slow critic; none if there is none.
        slow_scale: weight of the critic's distance from the slow one.
        replay_scale: weight of the critic on real rows.
        horizon: imagined steps.
        return_lambda: mixing of the n-step returns.
    """

    policy: PolicyKind = "bounded-normal"
    policy_layers: int = 3
    value_layers: int = 3
    policy_unimix: float = 0.0
    policy_outscale: float = POLICY_OUTSCALE
    value_outscale: float = 0.0
    reinforce: float = 1.0
    target: Critic = "live"
    baseline: Critic = "live"
    advantage: Callable[[], Normaliser] = ReturnNormaliser
    entropy: Callable[[ActionSpace], Entropy] = lambda _: FixedEntropy(3e-4)
    value: ScalarKind = "twohot"
    slow: Callable[[nn.Module], SlowCritic] | None = AveragedCritic
    slow_scale: float = 1.0
    replay_scale: float = 0.3
    horizon: int = 15
    return_lambda: float = 0.95


class Dream(NamedTuple):
    """Imagined rollouts: features (N, H + 1, F), actions (N, H + 1, A) or (N, H + 1) indices."""

    feats: torch.Tensor
    actions: torch.Tensor


class Judged(NamedTuple):
    """What is thought of a dream's states: all (N, H + 1), or for `returns` (N, H)."""

    reward: torch.Tensor
    survival: torch.Tensor
    value: torch.Tensor
    returns: torch.Tensor


class Behaviour(nn.Module):
    """Policy and critic, and the strategies by which they learn.

    Args:
        world: the model to dream in.
        action_space: of the robot.
        spec: how they learn.
    """

    def __init__(self, world: WorldModel, action_space: ActionSpace, spec: BehaviourSpec) -> None:
        super().__init__()
        self.spec = spec
        size, style = world.size, world.spec.core.style
        read = size.features, size.units
        self.policy = policy_head(
            *read,
            action_space,
            kind=spec.policy,
            unimix=spec.policy_unimix,
            layers=spec.policy_layers,
            style=style,
            outscale=spec.policy_outscale,
        )
        self.value = ScalarHead(spec.value, *read, spec.value_layers, style, spec.value_outscale)
        self.slow = spec.slow(self.value) if spec.slow else None
        self.live = LiveCritic()
        self.advantage = spec.advantage()
        self.entropy = spec.entropy(action_space)
        self.discrete = world.codec.discrete

    @property
    def noise(self) -> NoiseKind:
        """What a sampled action needs."""
        return "gumbel" if self.discrete else "normal"

    @property
    def through(self) -> bool:
        """Whether the policy learns through the dynamics."""
        return self.spec.reinforce < 1

    def dream(
        self, world: WorldModel, states: States, latents: torch.Tensor, actions: torch.Tensor
    ) -> Dream:
        """Imagine from all N = B * T states.

        Args:
            world: to dream in; a frozen view where gradients pass through it.
            states: (B, T, ...) to start from.
            latents: (H, N, ...) noise of the imagined states.
            actions: (H + 1, N, A) noise of the actions.
        """
        with torch.set_grad_enabled(self.through):
            carry = Carry(states.deter.detach().flatten(0, 1), states.stoch.detach().flatten(0, 1))
            feats, taken = [features(*carry)], []
            for eps, latent in zip(actions, (*latents, None), strict=True):
                taken.append(self.policy(feats[-1].detach()).sample(eps))
                if latent is not None:
                    action = world.codec.drive(taken[-1])
                    carry = world.rssm.imagine_step(carry, action, latent)
                    feats.append(features(*carry))
            return Dream(torch.stack(feats, 1), torch.stack(taken, 1))

    def losses(
        self, world: WorldModel, dream: Dream, ended: torch.Tensor
    ) -> tuple[Tensors, torch.Tensor, Tensors]:
        """Losses (N, H) of actor and critic, the returns (N, H), and metrics.

        Args:
            world: as `dream` took it.
            dream: from it.
            ended: (N,) bool, whether the episode was over in the state started from.
        """
        spec, feats = self.spec, dream.feats.detach()
        # Of the last states not all is needed; to leave them out would copy the features.
        value, policy = self.value(feats), self.policy(feats)
        with torch.set_grad_enabled(self.through):
            slow = self.slow(self.value, dream.feats).pred() if self.slow else None
            live = self.live(self.value, dream.feats).pred() if self.through else value.pred()
            critics = {"live": live, "slow": slow, "none": torch.zeros_like(live)}
            judged = self._judge(world, dream, critics[spec.target])
            baseline = critics[spec.baseline]
            assert baseline is not None, "there is no slow critic"
            advantage = self.advantage(judged.returns - baseline[:, :-1], judged.returns)
        weights = self._weights(world, judged.survival.detach(), ended)
        entropies = policy.entropies()[:, :-1]
        log_prob = policy.log_prob(dream.actions.detach())[:, :-1] if spec.reinforce else None
        returns = judged.returns.detach()
        slow_value = slow[:, :-1] if slow is not None and spec.slow_scale else None
        critic_loss = value_loss(value[:, :-1], slow_value, returns, spec.slow_scale)
        losses = {
            "policy": policy_loss(
                weights, advantage, log_prob, self.entropy(entropies), spec.reinforce
            ),
            "value": weights * critic_loss,
        }
        self.entropy.update(entropies.detach())
        metrics = {
            "return/imagined": returns.mean(),
            "return/scale": self.advantage.scale(),
            "reward/imagined": judged.reward.detach().mean(),
            "continue/imagined": judged.survival.detach().mean(),
            "policy/entropy": entropies.detach().sum(-1).mean(),
        }
        return losses, returns, metrics

    def replay_loss(
        self, batch: Tensors, feat: torch.Tensor, returns: torch.Tensor, discount: float
    ) -> torch.Tensor:
        """(B, T - 1) critic's loss on real rewards; each row's dream is its bootstrap."""
        boot = returns[:, 0].reshape(batch[REWARD].shape)
        real = replay_return(
            batch[REWARD],
            batch[IS_LAST],
            batch[IS_TERMINAL],
            boot,
            lam=self.spec.return_lambda,
            discount=discount,
        )
        assert self.slow is not None
        with torch.no_grad():
            slow = self.slow(self.value, feat[:, :-1]).pred()
        value, is_last = self.value(feat[:, :-1]), batch[IS_LAST][:, :-1]
        return replay_value_loss(value, slow, real, is_last, slow_scale=self.spec.slow_scale)

    def after_update(self) -> None:
        """To be called when the parameters have moved."""
        if self.slow is not None:
            self.slow.update(self.value)

    def _judge(self, world: WorldModel, dream: Dream, value: torch.Tensor | None) -> Judged:
        assert value is not None, "there is no slow critic"
        spec, reward = world.spec, world.reward(dream.feats).pred()
        if world.ensemble is not None:
            action = world.codec.drive(dream.actions)[:, :-1]
            novelty = world.ensemble.disagreement(dream.feats[:, :-1], action)
            reward = spec.exploit * reward + spec.explore * nn.functional.pad(novelty, (1, 0))
        survival = world.survival(dream.feats)
        returns = lambda_return(reward, survival, value, self.spec.return_lambda)
        return Judged(reward, survival, value, returns)

    def _weights(
        self, world: WorldModel, survival: torch.Tensor, ended: torch.Tensor
    ) -> torch.Tensor:
        """(N, H) how much each imagined state counts. Where the model knows only of the episode's
        end, the start counts by what is true of it; else by what is predicted."""
        if world.spec.folds_discount:
            return imagination_weights(survival)[:, :-1]
        start = (~ended).to(survival.dtype).unsqueeze(1)
        return imagination_weights(torch.cat([start, survival[:, 1:-1]], 1))
