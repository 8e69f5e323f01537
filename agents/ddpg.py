"""DDPG (Lillicrap et al. 2016, "Continuous control with deep reinforcement learning").

A critic learns the value of actions, and a deterministic actor learns to climb it. Target networks
of both follow slowly. Noise on the actor's actions explores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from pydantic import Field
from torch import nn

from agents.agent import Accepted, Acting, Actor, Tensors
from agents.blocks.actions import ActionCodec
from agents.blocks.critics import Critic
from agents.blocks.explore import BoxExplorer, NoiseName
from agents.blocks.nets import RELU, Dense
from agents.blocks.observe import Features, part
from agents.blocks.off_policy import OffPolicyAgent, OffPolicyConfig, Widths, step
from agents.blocks.stacks import stack
from agents.blocks.values import Head, Number, Target
from agents.blocks.views import frozen_view
from agents.errors import UnsupportedSpace
from robot_client.bundle import Signature
from robot_client.schema import ACTION, ActionSpace


class DDPGConfig(OffPolicyConfig):
    """Defaults are the paper's, without its batch normalisation."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {
            "batch_size": 128,
            "actor_widths": (256, 256),
            "critic_widths": (256, 256),
            "actor_learning_rate": 1e-3,
            "critic_learning_rate": 1e-3,
            "target_rate": 0.005,
            "noise": "normal",
            "deviation": 0.1,
        }
    }

    actor_widths: Widths = Field((400, 300), description="Hidden layers of the actor.")
    critic_widths: Widths = Field((400, 300), description="Hidden layers of the critic.")
    actor_learning_rate: float = Field(1e-4, gt=0, description="Of the actor.")
    critic_learning_rate: float = Field(1e-3, gt=0, description="Of the critic.")
    target_rate: float = Field(
        0.001, gt=0, le=1, description="How fast target networks follow, per update."
    )
    noise: NoiseName = Field("ou", description="Independent (normal), or drifting (ou).")
    deviation: float = Field(
        0.2, ge=0, description="Of the noise at each step; an action's range is 2."
    )
    pull: float = Field(0.15, ge=0, le=1, description="Of drifting noise to zero, per step.")
    saturation: float = Field(
        0.0, ge=0, description="Weight of the actor's squared output before its tanh."
    )


class DeterministicActor(nn.Module):
    """Features (B, F) -> actions (B, A) before tanh."""

    def __init__(self, width: int, widths: Widths, actions: int) -> None:
        super().__init__()
        self.trunk = stack(width, widths)
        last = [width, *widths][-1]
        self.mean = Dense(last, actions, norm=False, act=False, outscale=0.01, style=RELU)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Raw actions, small at first."""
        raw: torch.Tensor = self.mean(self.trunk(x))
        return raw


class DDPG(OffPolicyAgent):
    """Learns a value of actions, and a policy by its gradient (DDPG)."""

    config_type: ClassVar[type[DDPGConfig]] = DDPGConfig
    accepts: ClassVar[tuple[Accepted, ...]] = ("continuous", "vectors", "images")
    config: DDPGConfig
    explorer: BoxExplorer

    def head(self) -> Head:
        """What the critic predicts."""
        return Number()

    def critics(self) -> int:
        """How many critics there are, side by side."""
        return 1

    def _build(self, seen: spaces.Dict, action_space: ActionSpace) -> None:
        config = self.config
        self.codec = bounded_codec(action_space).to(self.device)
        width = self.codec.width
        self.critic = Critic(seen, width, config.critic_widths, self.head(), self.critics()).to(
            self.device
        )
        self.actor = DeterministicActor(self.critic.features.width, config.actor_widths, width).to(
            self.device
        )
        self.slow_critic, self.slow_actor = map(self._follower, (self.critic, self.actor))
        self._judge = frozen_view(self.critic)
        self.explorer = self._noisy(width)
        self._optimizers = {
            "critic": self._adam(self.critic, config.critic_learning_rate),
            "actor": self._adam(self.actor, config.actor_learning_rate),
        }

    def acting(self) -> Acting:
        """The actor, which explores by noise."""
        policy = DeterministicPolicy(
            self.critic.features,
            self.actor,
            self.codec,
            self.explorer,
        )
        return Acting(policy.signature, {"policy": policy})

    @torch.no_grad()
    def target(self, batch: Tensors) -> Target:
        """What the values of the batch's actions should be: of what the slow actor would do next,
        by the slow critic."""
        following = self.slow_critic.net.features(part(batch, "next/"))
        action = torch.tanh(self.slow_actor.net(following))
        return Target(
            batch["return"], batch["discount"], self.slow_critic.net(following, action)[0]
        )

    def actor_loss(self, x: torch.Tensor) -> torch.Tensor:
        """() how little the critic thinks of what the actor does in features (B, F)."""
        raw = self.actor(x)
        value = self._judge.head.pred(self._judge(x, torch.tanh(raw))[0])
        loss: torch.Tensor = self.config.saturation * raw.square().mean() - value.mean()
        return loss

    def _learn(self, batch: Tensors, weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
        target, action = self.target(batch), self.codec.encode(batch[ACTION])
        x = self.critic.features(batch)
        raw = self.critic(x, action)[0]
        losses, priority = self.critic.head.loss(raw, target)
        critic_loss = (weight * losses).mean()
        norm = step(self._optimizers["critic"], critic_loss)
        actor_loss = self.actor_loss(x.detach())
        actor_norm = step(self._optimizers["actor"], actor_loss)
        self.slow_critic.update(self.critic)
        self.slow_actor.update(self.actor)
        metrics = {
            "loss/critic": critic_loss.detach(),
            "loss/actor": actor_loss.detach(),
            "value": self.critic.head.pred(raw.detach()).mean(),
            "grad_norm/critic": norm,
            "grad_norm/actor": actor_norm,
        }
        return metrics, priority

    def _kept(self) -> Mapping[str, Any]:
        return {
            "critic": self.critic,
            "actor": self.actor,
            "slow_critic": self.slow_critic,
            "slow_actor": self.slow_actor,
            **{f"optimizer.{name}": o for name, o in self._optimizers.items()},
        }


class DeterministicPolicy(Actor):
    """One control step."""

    def __init__(
        self,
        features: Features,
        actor: DeterministicActor,
        codec: ActionCodec,
        explorer: BoxExplorer,
    ) -> None:
        super().__init__()
        self.features, self.actor, self.codec, self.explorer = features, actor, codec, explorer
        self.signature = Signature(noise=explorer.noise, carry=explorer.carry)

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        mode = torch.tanh(self.actor(self.features(part(inputs, "in_"))))
        action, carry = self.explorer(mode, inputs)
        return {"out_action": self.codec.decode(action), **carry}


def bounded_codec(action_space: ActionSpace) -> ActionCodec:
    """The codec of a bounded Box. Raises UnsupportedSpace for any other space."""
    if not isinstance(action_space, spaces.Box) or not action_space.is_bounded():
        raise UnsupportedSpace("action_space", "a bounded Box of float32", action_space)
    return ActionCodec(action_space)
