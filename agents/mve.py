"""MVE (Feinberg et al. 2018, "Model-based value expansion for efficient model-free reinforcement
learning") and STEVE (Buckman et al. 2018).

DDPG, whose critic learns from what a learned model expects of the policy for some steps more, and
from the target critic only of where those lead to. The robot acts by a plain actor. Without such
steps it is DDPG, number by number. The lecture's MBVE, "model-based value estimation", is the same
paper by the title of its preprint.

STEVE's paper has ensembles of transitions, of rewards and of critics, and a candidate for each
combination of their members. Here a member of the one model says both where an action leads and,
unless the task declares it, what it earns: candidates combine members and critics, and how rewards
are in doubt shows only together with what follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from pydantic import Field

from agents.agent import Tensors
from agents.blocks.dynamics import Dynamics, Outcomes, experience
from agents.blocks.expansion import horizon_values, path_values, steve
from agents.blocks.observe import Vectors, part
from agents.blocks.off_policy import Widths, step
from agents.blocks.values import distance
from agents.ddpg import DDPG, DDPGConfig
from robot_client.schema import ACTION, ActionSpace


class MVEConfig(DDPGConfig):
    """Defaults are the paper's but for what is said of `imagined_weight`, and a smaller model."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {**DDPGConfig.presets["laptop"], "model_widths": (128, 128), "warm_up": 500},
        "steve-laptop": {
            **DDPGConfig.presets["laptop"],
            "model_widths": (128, 128),
            "warm_up": 500,
            "steve": True,
            "critics": 4,
            "members": 4,
        },
    }

    n_step: int = Field(1, ge=1, le=1, description="The model takes the further steps.")
    discount: float = Field(0.99, gt=0, le=1, description="Per step.")
    horizon: int = Field(3, ge=0, le=50, description="Imagined steps of a target; 0: DDPG.")
    imagined_weight: float = Field(
        0.1,
        ge=0,
        description="How much imagined steps count as what the critic learns from; 0: only real"
        " ones. The paper's is 1 (its TD-k trick), at which critics were seen to lose their slope.",
    )
    imagined_noise: float = Field(
        0.3, ge=0, description="Deviation of imagined actions, if imagined steps count."
    )
    warm_up: int = Field(1000, ge=0, description="Updates of the model before it is believed.")
    steve: bool = Field(
        False, description="Weigh all horizons by how well models and critics agree on them."
    )
    critics: int = Field(1, ge=1, le=16, description="Side by side; some for `steve`.")
    members: int = Field(1, ge=1, le=16, description="Networks of the model; some for `steve`.")
    model_widths: Widths = Field((200, 200, 200, 200), description="Hidden layers of the model.")
    model_learning_rate: float = Field(1e-3, gt=0, description="Of the model.")


@dataclass(frozen=True)
class Path:
    """What is imagined from a batch by each of M networks, for H steps after the real one.

    Args:
        x: (H + 1, M, B, N) states that follow step k.
        action: (H + 1, M, B, A) what the target actor does there.
        reward, going_on: (H + 1, M, B) of step k, whose first is the real one.
    """

    x: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    going_on: torch.Tensor


class MVE(DDPG):
    """DDPG with a model for its critic's targets."""

    config_type: ClassVar[type[MVEConfig]] = MVEConfig
    accepts = ("continuous", "vectors")
    config: MVEConfig

    def critics(self) -> int:
        """How many critics there are, side by side."""
        return self.config.critics if self.config.horizon else 1

    def _build(self, seen: spaces.Dict, action_space: ActionSpace) -> None:
        self.vectors = Vectors(seen).to(self.device)
        super()._build(seen, action_space)
        config = self.config
        if config.horizon:
            model = Dynamics(self.vectors, self.codec.width, config.model_widths, config.members)
            self.model = model.to(self.device)
            self._optimizers["model"] = self._adam(self.model, config.model_learning_rate)

    @torch.no_grad()
    def imagine(self, batch: Tensors) -> Path:
        """What the model expects of the target actor, from where the batch's steps really led."""
        config = self.config
        after = self.vectors(part(batch, "next/"))
        x = after.expand(config.members, *after.shape)
        reward, going_on = (t.expand(x.shape[:2]) for t in (batch["return"], self._alive(batch)))
        steps = [(x, self._follow(x, config.horizon > 0), reward, going_on)]
        outcomes = Outcomes(self.vectors, self.codec, self.task)
        for k in range(config.horizon):
            action = steps[-1][1]
            found = outcomes.of(self.model.step(x, action), action)
            x = found.after
            does = self._follow(x, k < config.horizon - 1)
            steps.append((x, does, found.reward, found.going_on))
        return Path(*(torch.stack(part) for part in zip(*steps, strict=True)))

    @torch.no_grad()
    def path_target(self, path: Path) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) what the real steps are worth, and (H + 1, M, B) the path's steps."""
        factor = self.config.discount * path.going_on
        if self.config.steve:
            return self._steve(path, factor)
        following = self._slow_values(path.x[-1], path.action[-1]).mean(0)
        values = path_values(path.reward, factor, following)
        return values[0].mean(0), values

    def _steve(self, path: Path, factor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        critics = torch.stack(  # (H + 1, L, M, B)
            [self._slow_values(x, a) for x, a in zip(path.x, path.action, strict=True)]
        )
        found = horizon_values(path.reward[:, None], factor[:, None], critics)
        value, _ = steve(found.flatten(1, 2))
        return value, found.mean(1)

    def _slow_values(self, x: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """(M, B, N), (M, B, A) -> (L, M, B) what the target critics think."""
        raw = self.slow_critic.net(x.flatten(0, 1), action.flatten(0, 1))[..., 0]
        found: torch.Tensor = raw.reshape(-1, *x.shape[:2])
        return found

    def _follow(self, x: torch.Tensor, noisy: bool) -> torch.Tensor:
        """What the target actor does in (M, B, N). Only what is learned from has noise, which
        keeps the critic's slope; where a path ends there is none."""
        action = torch.tanh(self.slow_actor.net(x))
        if not (noisy and self._counts):
            return action
        noise = self.config.imagined_noise * self._normal(*action.shape)
        return (action + noise).clamp(-1, 1)

    @property
    def _counts(self) -> bool:
        """Whether the critic learns from imagined steps too."""
        config = self.config
        return config.horizon > 0 and config.imagined_weight > 0 and not config.steve

    def _alive(self, batch: Tensors) -> torch.Tensor:
        return (batch["discount"] > 0).float()

    @torch.no_grad()
    def _ready(self) -> torch.Tensor:
        """() 1 once the model is believed, before that 0."""
        return (self._updates >= self.config.warm_up).float()

    def actor_loss(self, x: torch.Tensor) -> torch.Tensor:
        """() how little the critics think of what the actor does in features (B, F)."""
        raw = self.actor(x)
        value = self._judge(x, torch.tanh(raw))[..., 0].mean(0)
        loss: torch.Tensor = self.config.saturation * raw.square().mean() - value.mean()
        return loss

    def _learn(self, batch: Tensors, weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
        if not self.config.horizon:
            return super()._learn(batch, weight)
        ready, path = self._ready(), self.imagine(batch)
        value, values = self.path_target(path)
        value = torch.where(ready > 0, value, self._plain(batch))
        x, action = self.vectors(batch), self.codec.encode(batch[ACTION])
        predicted = self.critic(x, action)[..., 0]  # (L, B)
        losses, errors = distance(predicted, value.expand_as(predicted))
        real = (weight * losses.sum(0)).mean()
        imagined = self._imagined_loss(path, values, weight) if self._counts else 0 * real
        critic_loss = real + ready * self.config.imagined_weight * imagined
        norm = step(self._optimizers["critic"], critic_loss)
        actor_loss = self.actor_loss(x)
        actor_norm = step(self._optimizers["actor"], actor_loss)
        self.slow_critic.update(self.critic)
        self.slow_actor.update(self.actor)
        metrics = {
            "loss/critic": real.detach(),
            "loss/imagined": imagined.detach(),
            "loss/actor": actor_loss.detach(),
            "value": predicted.detach().mean(),
            "grad_norm/critic": norm,
            "grad_norm/actor": actor_norm,
            **self._learn_model(batch),
        }
        return metrics, errors.mean(0)

    def _plain(self, batch: Tensors) -> torch.Tensor:
        """(B,) DDPG's targets, by the mean critic."""
        after = self.vectors(part(batch, "next/"))[None]
        following = self._slow_values(after, self._follow(after, noisy=False)).mean((0, 1))
        return batch["return"] + batch["discount"] * following

    def _imagined_loss(
        self, path: Path, values: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """() the TD-k terms: each imagined step's error, as far as the task got there."""
        reached = path.going_on.cumprod(0)[:-1]  # (H, M, B)
        x, action = (t[:-1].flatten(0, 2) for t in (path.x, path.action))
        predicted = self.critic(x, action)[..., 0]
        losses, _ = distance(predicted, values[1:].flatten().expand_as(predicted))
        losses = losses.sum(0).reshape(reached.shape)
        loss: torch.Tensor = (weight * (reached * losses).mean(1).sum(0)).mean()
        return loss

    def _learn_model(self, batch: Tensors) -> Tensors:
        seen = experience(batch, self.vectors, self.codec)
        self.model.learn_units(seen)
        loss, metrics = self.model.loss(seen)
        return {**metrics, "grad_norm/model": step(self._optimizers["model"], loss)}

    def _kept(self) -> Mapping[str, Any]:
        return {**super()._kept(), **({"model": self.model} if self.config.horizon else {})}
