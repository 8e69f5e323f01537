"""Soft actor-critic (Haarnoja et al. 2018, "Soft actor-critic algorithms and applications"), with
the temperature that keeps the policy's entropy at a target.

The lesser of two critics is believed. The policy is a normal distribution squashed by tanh;
entropy is that of actions in -1..1, whatever the robot's own scale is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from pydantic import Field
from torch import nn

from agents.agent import Acting, Actor, Tensors
from agents.blocks.actions import ActionCodec
from agents.blocks.critics import Critic
from agents.blocks.explore import BoxExplorer
from agents.blocks.nets import RELU, Dense
from agents.blocks.observe import Features, part
from agents.blocks.off_policy import OffPolicyAgent, OffPolicyConfig, Widths, step
from agents.blocks.policies import TanhNormal, told
from agents.blocks.stacks import stack
from agents.blocks.values import Number, distance
from agents.blocks.views import frozen_view
from agents.ddpg import bounded_codec
from robot_client.bundle import NoiseSpec, Signature
from robot_client.schema import ACTION, ActionSpace

_LOG_STD = (-5.0, 2.0)  # limits of the logarithm of the deviation, before tanh


class SACConfig(OffPolicyConfig):
    """Defaults are the paper's."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {"batch_size": 128, "learning_rate": 1e-3}
    }

    batch_size: int = Field(256, ge=1, description="Transitions per update.")
    widths: Widths = Field((256, 256), description="Hidden layers of actor and critics.")
    learning_rate: float = Field(3e-4, gt=0, description="Of all networks and the temperature.")
    temperature: float = Field(1.0, gt=0, description="Weight of the entropy at first.")
    automatic: bool = Field(True, description="Adapt the temperature to the target entropy.")
    entropy: float = Field(
        -1.0, description="Target entropy in nats per number of an action, in -1..1."
    )


class SquashedActor(nn.Module):
    """Features (B, F) -> a distribution of actions (B, A) in -1..1."""

    def __init__(self, width: int, widths: Widths, actions: int) -> None:
        super().__init__()
        self.trunk = stack(width, widths)
        last = [width, *widths][-1]
        self.raw = Dense(last, 2 * actions, norm=False, act=False, outscale=0.01, style=RELU)

    def forward(self, x: torch.Tensor) -> TanhNormal:
        """Deviations stay within e^-5 and e^2, smoothly."""
        mean, raw = self.raw(self.trunk(x)).chunk(2, -1)
        low, high = _LOG_STD
        return TanhNormal(mean, torch.exp(low + 0.5 * (high - low) * (torch.tanh(raw) + 1)))


class Temperature(nn.Module):
    """Weight of the entropy, by its logarithm; learned from how far the entropy is from a target.

    Args:
        start: the weight at first.
        target: entropy in nats, of the whole action.
    """

    def __init__(self, start: float, target: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(start).log())
        self.target = target

    def current(self) -> torch.Tensor:
        """() without gradient."""
        return self.log.detach().exp()

    def loss(self, log_prob: torch.Tensor) -> torch.Tensor:
        """() -temperature (log_prob + target), from log-probabilities (B,) of what was sampled."""
        return -(self.log.exp() * (log_prob.detach() + self.target).mean())


class SAC(OffPolicyAgent):
    """Learns to act well and as randomly as it can afford (soft actor-critic)."""

    config_type = SACConfig
    accepts = ("continuous", "vectors", "images")
    config: SACConfig
    explorer: BoxExplorer

    def _build(self, seen: spaces.Dict, action_space: ActionSpace) -> None:
        config = self.config
        self.codec = bounded_codec(action_space).to(self.device)
        width = self.codec.width
        self.critic = Critic(seen, width, config.widths, Number(), members=2).to(self.device)
        self.actor = SquashedActor(self.critic.features.width, config.widths, width).to(self.device)
        self.temperature = Temperature(config.temperature, config.entropy * width).to(self.device)
        self.slow_critic = self._follower(self.critic)
        self._judge = frozen_view(self.critic)
        self.explorer = BoxExplorer(
            width, config.random_first, config.random_last, config.random_updates
        ).to(self.device)
        parts = {"critic": self.critic, "actor": self.actor, "temperature": self.temperature}
        self._optimizers = {k: self._adam(net, config.learning_rate) for k, net in parts.items()}

    def acting(self) -> Acting:
        """The actor; its own distribution explores."""
        policy = SquashedPolicy(
            self.critic.features,
            self.actor,
            self.codec,
            self.explorer,
        )
        return Acting(policy.signature, {"policy": policy})

    @torch.no_grad()
    def act(self, obs: Tensors) -> torch.Tensor:
        """(B, A) sampled actions of observations, in the robot's scale."""
        return self.codec.decode(self._sample(self.critic.features(obs))[0])

    @torch.no_grad()
    def target(self, batch: Tensors) -> torch.Tensor:
        """(B,) what the values of the batch's actions should be."""
        following = part(batch, "next/")
        action, log_prob = self._sample(self.critic.features(following))
        slow = self.slow_critic.net
        value = slow(slow.features(following), action)[..., 0].amin(0)
        value = value - self.temperature.current() * log_prob
        wanted: torch.Tensor = batch["return"] + batch["discount"] * value
        return wanted

    def actor_loss(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """() loss of the actor in features (B, F), and (B,) log-probabilities of its samples."""
        action, log_prob = self._sample(x)
        value = self._judge(x, action)[..., 0].amin(0)
        return (self.temperature.current() * log_prob - value).mean(), log_prob

    def _sample(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found: TanhNormal = self.actor(x)
        return found.sample_with_log_prob(self._normal(*found.mean.shape))

    def _learn(self, batch: Tensors, weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
        target, action = self.target(batch), self.codec.encode(batch[ACTION])
        x = self.critic.features(batch)
        values = self.critic(x, action)[..., 0]
        losses, errors = distance(values, target.expand_as(values))
        critic_loss = (weight * losses.sum(0)).mean()
        norm = step(self._optimizers["critic"], critic_loss)
        actor_loss, log_prob = self.actor_loss(x.detach())
        actor_norm = step(self._optimizers["actor"], actor_loss)
        if self.config.automatic:
            step(self._optimizers["temperature"], self.temperature.loss(log_prob))
        self.slow_critic.update(self.critic)
        metrics = {
            "loss/critic": critic_loss.detach(),
            "loss/actor": actor_loss.detach(),
            "value": values.detach().mean(),
            "entropy": -log_prob.detach().mean(),
            "temperature": self.temperature.current(),
            "grad_norm/critic": norm,
            "grad_norm/actor": actor_norm,
        }
        return metrics, errors.mean(0)

    def _kept(self) -> Mapping[str, Any]:
        return {
            "critic": self.critic,
            "actor": self.actor,
            "temperature": self.temperature,
            "slow_critic": self.slow_critic,
            **{f"optimizer.{name}": o for name, o in self._optimizers.items()},
        }


class SquashedPolicy(Actor):
    """One control step."""

    def __init__(
        self,
        features: Features,
        actor: SquashedActor,
        codec: ActionCodec,
        explorer: BoxExplorer,
    ) -> None:
        super().__init__()
        self.features, self.actor, self.codec, self.explorer = features, actor, codec, explorer
        noise = {"sample": NoiseSpec((codec.width,), "normal", acts=True)}
        self.signature = Signature(noise=explorer.noise | noise)

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        found = self.actor(self.features(part(inputs, "in_")))
        action, _ = self.explorer(found.sample(inputs["in_noise_sample"]), inputs)
        return {"out_action": self.codec.decode(action), **told(found)}
