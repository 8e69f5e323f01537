"""DayDreamer (Wu et al. 2022, "DayDreamer: world models for physical robot learning").

Between the second Dreamer and the third, and the one that learned on real robots: any number of
cameras, depth images and vectors in one state, a divergence whose weight seeks a target, advantages
in their own standard deviations, and an entropy that seeks a target per action dimension. The same
settings for every robot.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agents.blocks.adam import Adam
from agents.blocks.nets import NORMED_ELU
from agents.blocks.normalize import MeanStdNormaliser
from agents.blocks.slow import CopiedCritic
from agents.world.agent import ActorCriticConfig, Parts, Recipe, WorldAgent
from agents.world.behaviour import BehaviourSpec
from agents.world.coding import DAYDREAMER
from agents.world.heads import entropy_target
from agents.world.kl import ControlledKL
from agents.world.model import ModelSpec
from agents.world.plans import SHORT_PLAN
from agents.world.rssm import Core
from agents.world.sizes import DAYDREAMER_SIZES


class DayDreamerConfig(ActorCriticConfig):
    """Defaults are those of the paper's arms and Sphero; `size` a1 is the quadruped's."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {
            "size": "tiny",
            "batch_size": 8,
            "batch_length": 32,
            "learning_rate": 6e-4,
            "actor_learning_rate": 3e-4,
            "value_learning_rate": 3e-4,
            "discount": 0.98,
        },
        "a1": {"size": "a1", "entropy": 0.5},
    }

    size: Literal["tiny", "small", "a1", "arm", "default"] = Field(
        "arm", description="Widths of networks."
    )
    batch_size: int = Field(32, ge=1, description="Windows per update.")
    batch_length: int = Field(32, ge=2, description="Rows per window.")
    discount: float = Field(0.995, gt=0, lt=1, description="Per step.")
    kl_target: float = Field(3.5, gt=0, description="Divergence that its weight seeks, in nats.")
    kl_balance: float = Field(0.8, ge=0, le=1, description="Share that teaches the prior.")
    entropy: float = Field(
        0.4, gt=0, lt=1, description="Entropy that is sought, as a share of its range."
    )
    unimix: float = Field(0.1, ge=0, le=1, description="Share of random among Discrete actions.")
    weight_decay: float = Field(1e-2, ge=0, description="Of kernels, per update and rate.")
    slow_every: int = Field(100, ge=1, description="Updates between copies of the critic.")


class DayDreamer(WorldAgent):
    """Learns a world model on robots, and to act from its dreams (DayDreamer)."""

    config_type = DayDreamerConfig
    config: DayDreamerConfig

    def recipe(self, discrete: bool) -> Recipe:
        """Box actions learn through the dynamics, Discrete ones by REINFORCE."""
        config = self.config
        model = ModelSpec(
            DAYDREAMER_SIZES[config.size],
            DAYDREAMER,
            Core("ln-gru", start="learned", style=NORMED_ELU, prior_layers=3),
            lambda: ControlledKL(config.kl_target, config.kl_balance),
            reward="symlog-mse",
            reward_outscale=0.1,
            continue_outscale=0.1,
            reward_layers=4,
            continue_layers=4,
            discount=config.discount,
            folds_discount=False,
            replay_context=False,
            **config.curiosity,
        )
        behaviour = BehaviourSpec(
            policy="normal",
            policy_layers=4,
            value_layers=4,
            policy_unimix=config.unimix,
            reinforce=1.0 if discrete else 0.0,
            target="slow",
            baseline="slow",
            advantage=MeanStdNormaliser,
            entropy=lambda actions: entropy_target(actions, config.entropy),
            value="symlog-mse",
            value_outscale=0.1,
            policy_outscale=0.1,
            slow=lambda value: CopiedCritic(value, config.slow_every),
            slow_scale=0.0,
            replay_scale=0.0,
            horizon=config.horizon,
            return_lambda=config.return_lambda,
        )
        return Recipe(model, behaviour, self._optimizers_of, SHORT_PLAN)

    def _optimizers_of(self, parts: Parts) -> dict[str, Adam]:
        config = self.config
        decay = config.weight_decay
        return {
            k: Adam(p, config.rates[k], config.clip, eps=1e-6, weight_decay=decay)
            for k, p in parts.items()
        }
