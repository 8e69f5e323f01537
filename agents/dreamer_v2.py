"""The second Dreamer (Hafner et al. 2021, "Mastering Atari with discrete world models").

States are classes instead of real numbers, the prior learns faster than the posterior gives way
(KL balancing), and a slow copy of the critic values the future. Discrete actions learn by
REINFORCE, Box actions through the dynamics.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from agents.blocks.adam import Adam
from agents.blocks.control import FixedEntropy
from agents.blocks.nets import ELU
from agents.blocks.normalize import NoNormaliser
from agents.blocks.slow import CopiedCritic
from agents.world.agent import ActorCriticConfig, Parts, Recipe, WorldAgent
from agents.world.behaviour import BehaviourSpec
from agents.world.coding import DREAMER_V2
from agents.world.kl import BalancedKL
from agents.world.model import ModelSpec
from agents.world.plans import SHORT_PLAN
from agents.world.rssm import Core
from agents.world.sizes import V2_SIZES


class DreamerV2Config(ActorCriticConfig):
    """Defaults are those for the control suite; the preset `atari` is for games."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {
            "size": "tiny",
            "batch_size": 8,
            "batch_length": 32,
            "free_nats": 0.3,
            "vector_scale": 30.0,
            "learning_rate": 6e-4,
            "actor_learning_rate": 3e-4,
            "value_learning_rate": 3e-4,
            "discount": 0.98,
        },
        "atari": {
            "size": "atari",
            "batch_size": 16,
            "discount": 0.999,
            "kl_scale": 0.1,
            "free_nats": 0.0,
            "continue_scale": 5.0,
            "entropy": 1e-3,
            "learning_rate": 2e-4,
            "actor_learning_rate": 4e-5,
            "value_learning_rate": 1e-4,
        },
    }

    size: Literal["tiny", "dmc", "atari", "default"] = Field(
        "dmc", description="Widths of all networks."
    )
    batch_size: int = Field(50, ge=1, description="Windows per update; the code has 16.")
    batch_length: int = Field(50, ge=2, description="Rows per window.")
    discount: float = Field(0.99, gt=0, lt=1, description="Per step.")
    kl_scale: float = Field(1.0, ge=0, description="Weight of the divergence.")
    kl_balance: float = Field(0.8, ge=0, le=1, description="Share that teaches the prior.")
    vector_scale: float = Field(
        1.0, ge=0, description="Weight of predicting vectors; the paper has pixels only."
    )
    free_nats: float = Field(1.0, ge=0, description="Mean divergence that costs nothing.")
    continue_scale: float = Field(
        0.0, ge=0, description="Weight of predicting the end; 0: it is not predicted."
    )
    entropy: float = Field(1e-4, ge=0, description="Scale of the actor's entropy bonus.")
    learning_rate: float = Field(3e-4, gt=0, description="Of the world model.")
    actor_learning_rate: float = Field(8e-5, gt=0, description="Of the actor.")
    value_learning_rate: float = Field(8e-5, gt=0, description="Of the critic.")
    weight_decay: float = Field(1e-6, ge=0, description="Of kernels, per update.")
    slow_every: int = Field(100, ge=1, description="Updates between copies of the critic.")


class DreamerV2(WorldAgent):
    """Learns a world model with discrete states, and to act from its dreams (DreamerV2)."""

    config_type = DreamerV2Config
    config: DreamerV2Config

    def recipe(self, discrete: bool) -> Recipe:
        """Box actions learn through the dynamics, Discrete ones by REINFORCE."""
        config = self.config
        model = ModelSpec(
            V2_SIZES[config.size],
            replace(DREAMER_V2, vector_scale=config.vector_scale),
            Core("ln-gru", style=ELU, prior_layers=1, unimix=0.0),
            lambda: BalancedKL(config.kl_scale, config.kl_balance, config.free_nats),
            reward="normal",
            reward_outscale=1.0,
            reward_layers=4,
            continue_layers=4 if config.continue_scale else 0,
            continue_scale=config.continue_scale,
            discount=config.discount,
            folds_discount=False,
            replay_context=False,
            **config.curiosity,
        )
        behaviour = BehaviourSpec(
            policy="truncated-normal",
            policy_layers=4,
            value_layers=4,
            reinforce=1.0 if discrete else 0.0,
            target="slow",
            baseline="slow" if discrete else "none",
            advantage=NoNormaliser,
            entropy=lambda _: FixedEntropy(config.entropy),
            value="normal",
            value_outscale=1.0,
            policy_outscale=1.0,
            slow=lambda value: CopiedCritic(value, config.slow_every),
            slow_scale=0.0,
            replay_scale=0.0,
            horizon=config.horizon,
            return_lambda=config.return_lambda,
        )
        return Recipe(model, behaviour, self._optimizers_of, SHORT_PLAN)

    def _optimizers_of(self, parts: Parts) -> dict[str, Adam]:
        config = self.config
        # The published code takes off the same share whatever the rate.
        return {
            k: Adam(
                p,
                config.rates[k],
                config.clip,
                eps=1e-5,
                weight_decay=config.weight_decay / config.rates[k],
            )
            for k, p in parts.items()
        }
