"""Hindsight experience replay (Andrychowicz et al. 2017), over DQN, DDPG or SAC.

A policy that is told its goal learns from what it missed as well: rows are replayed with goals that
were reached later in the same episode, and with the rewards and ends that go with those. Who puts
them in is the replay, by the robot's declared task; what learns is any learner from transitions.
The lecture's slide calls it model-based; that is a reading of it: no model is learned here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from gymnasium import spaces
from pydantic import Field

from agents.agent import Acting, Agent, AgentConfig, GoalTransitions, Learned, Tensors
from agents.blocks.goals import UNBOUNDED, Bounds, GoalKeys, payable
from agents.blocks.off_policy import OffPolicyConfig, Widths
from agents.blocks.values import Target
from agents.ddpg import DDPG, DDPGConfig
from agents.dqn import DQN, DQNConfig
from agents.sac import SAC, SACConfig
from robot_client.schema import ActionSpace

Strategy = Literal["future", "final", "episode"]
_LAPTOP = {
    "batch_size": 128,
    "widths": (256,),
    "target_rate": 0.005,
    "random_first": 0.2,
    "random_last": 0.2,
    "saturation": 0.01,
}


class HERConfig(OffPolicyConfig, GoalKeys):
    """Defaults are those of the authors' code for robots (baselines), whose target networks move a
    twentieth of the way every 40 updates, without its running normaliser."""

    presets = {"laptop": _LAPTOP}  # noqa: RUF012 - a ClassVar of the base

    over: Literal["ddpg", "sac"] = Field(
        "ddpg", description="Who learns actions that are numbers; DQN learns choices."
    )
    strategy: Strategy = Field(
        "future",
        description="Where in the episode a goal is taken from: later on, at its end, any.",
    )
    relabelled: float = Field(
        0.8,
        ge=0,
        le=1,
        description="Share of rows that get another goal; 0.8 is the paper's k = 4.",
    )
    clip_targets: bool = Field(
        True, description="Keep DQN's and DDPG's targets within what the task can ever pay."
    )  # SAC's are beyond that, by its entropy
    batch_size: int = Field(256, ge=1, description="Transitions per update.")
    discount: float = Field(0.98, ge=0, lt=1, description="Per step.")
    target_rate: float = Field(
        0.00128, gt=0, le=1, description="How fast target networks follow, per update."
    )
    widths: Widths = Field((256, 256, 256), description="Hidden layers of every network.")
    learning_rate: float = Field(1e-3, gt=0, description="Of every network.")
    random_first: float = Field(
        0.3, ge=0, le=1, description="Share of random actions once it learns; all are before."
    )
    random_last: float = Field(0.3, ge=0, le=1, description="Share of random actions at last.")
    deviation: float = Field(
        0.2, ge=0, description="DDPG: of the noise at each step; an action's range is 2."
    )
    saturation: float = Field(
        1.0, ge=0, description="DDPG: weight of the actor's squared output before its tanh."
    )


class BoundedDQN(DQN):
    """DQN whose targets stay within bounds."""

    bounds: Bounds = UNBOUNDED

    def target(self, batch: Tensors) -> Target:
        """What the values of the batch's actions should be."""
        return clipped(super().target(batch), self.bounds)


class BoundedDDPG(DDPG):
    """DDPG whose targets stay within bounds."""

    bounds: Bounds = UNBOUNDED

    def target(self, batch: Tensors) -> Target:
        """What the values of the batch's actions should be."""
        return clipped(super().target(batch), self.bounds)


def clipped(target: Target, bounds: Bounds) -> Target:
    """The target of a number, kept within bounds."""
    wanted = target.reward + target.discount * target.following[:, 0]
    return Target(wanted.clamp(*bounds), torch.zeros_like(wanted), target.following)


class HER(Agent):
    """Learns to reach any goal, from those that it reached instead (HER over DQN, DDPG or SAC)."""

    config_type = HERConfig
    accepts = ("continuous", "discrete", "vectors", "images", "goals")

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        config: AgentConfig,
        device: torch.device,
    ) -> None:
        assert isinstance(config, HERConfig), type(config)
        config.check(observation_space, config.keys)
        self.config, self.device = config, device
        self.learner = _learner(observation_space, action_space, config, device)
        self.demand = GoalTransitions(
            config.batch_size,
            config.n_step,
            config.discount,
            config.priority,
            config.relabelled,
            config.strategy,
        )

    def acting(self) -> Acting:
        """The learner's policy, which sees the goal beside the rest."""
        self.config.check_task(self.task)
        return self.learner.acting()

    def train(self, batch: Tensors) -> Learned:
        """One update of the learner, from (B,) transitions whose goals are put in already."""
        if self.config.clip_targets and not isinstance(self.learner, SAC):
            self.learner.bounds = payable(self.task, self.config.discount)
        return self.learner.train(batch)

    def state_dict(self) -> dict[str, Any]:
        """The learner's."""
        return self.learner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.learner.load_state_dict(state)


def _learner(
    observation_space: spaces.Dict,
    action_space: ActionSpace,
    config: HERConfig,
    device: torch.device,
) -> BoundedDQN | BoundedDDPG | SAC:
    """Who learns from the rows, with the settings that it shares with the others."""
    common = {name: getattr(config, name) for name in OffPolicyConfig.model_fields}
    rate, widths = config.learning_rate, config.widths
    if isinstance(action_space, spaces.Discrete):
        choices = DQNConfig(**common, widths=widths, learning_rate=rate)
        return BoundedDQN(observation_space, action_space, choices, device)
    if config.over == "sac":
        soft = SACConfig(**common, widths=widths, learning_rate=rate)
        return SAC(observation_space, action_space, soft, device)
    numbers = DDPGConfig(
        **common,
        actor_widths=widths,
        critic_widths=widths,
        actor_learning_rate=rate,
        critic_learning_rate=rate,
        noise="normal",
        deviation=config.deviation,
        saturation=config.saturation,
    )
    return BoundedDDPG(observation_space, action_space, numbers, device)
