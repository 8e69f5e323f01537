"""The first Dreamer (Hafner et al. 2020, "Dream to control: learning behaviors by latent
imagination").

PlaNet's world model, and an actor that learns by the gradient of its imagined returns, through the
dynamics. The paper has no Discrete actions; here they learn by REINFORCE.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from agents.blocks.adam import Adam
from agents.blocks.control import FixedEntropy
from agents.blocks.nets import ELU
from agents.blocks.normalize import NoNormaliser
from agents.world.agent import ActorCriticConfig, Parts, Recipe, WorldAgent
from agents.world.behaviour import BehaviourSpec
from agents.world.coding import DREAMER_V1
from agents.world.kl import FreeNatsOfMean
from agents.world.model import ModelSpec
from agents.world.plans import SHORT_PLAN
from agents.world.rssm import Core
from agents.world.sizes import V1_SIZES


class DreamerV1Config(ActorCriticConfig):
    """Defaults are the paper's and its code's."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {
            "size": "tiny",
            "batch_size": 8,
            "batch_length": 32,
            "free_nats": 0.3,
            "vector_scale": 30.0,
            "learning_rate": 1e-3,
            "actor_learning_rate": 3e-4,
            "value_learning_rate": 1e-3,
            "discount": 0.98,
        }
    }

    size: Literal["tiny", "paper"] = Field("paper", description="Widths of all networks.")
    batch_size: int = Field(50, ge=1, description="Windows per update.")
    batch_length: int = Field(50, ge=2, description="Rows per window.")
    discount: float = Field(0.99, gt=0, lt=1, description="Per step.")
    vector_scale: float = Field(
        1.0, ge=0, description="Weight of predicting vectors; the paper has pixels only."
    )
    free_nats: float = Field(3.0, ge=0, description="Mean divergence that costs nothing.")
    continue_scale: float = Field(
        0.0, ge=0, description="Weight of predicting the end; 0: it is not predicted. Code: 10."
    )
    learning_rate: float = Field(6e-4, gt=0, description="Of the world model.")
    actor_learning_rate: float = Field(8e-5, gt=0, description="Of the actor.")
    value_learning_rate: float = Field(8e-5, gt=0, description="Of the critic.")
    act_noise: float = Field(0.3, ge=0, description="Deviation of noise on a Box action.")


class DreamerV1(WorldAgent):
    """Learns a world model, and to act by gradients through its dreams (Dreamer, 2020)."""

    config_type = DreamerV1Config
    config: DreamerV1Config

    def recipe(self, discrete: bool) -> Recipe:
        """Box actions learn through the dynamics, Discrete ones by REINFORCE."""
        config = self.config
        model = ModelSpec(
            V1_SIZES[config.size],
            replace(DREAMER_V1, vector_scale=config.vector_scale),
            Core("gru", "gaussian", style=ELU, prior_layers=1),
            lambda: FreeNatsOfMean(config.free_nats),
            reward="normal",
            reward_outscale=1.0,
            reward_layers=2,
            continue_layers=3 if config.continue_scale else 0,
            continue_scale=config.continue_scale,
            discount=config.discount,
            folds_discount=False,
            replay_context=False,
            **config.curiosity,
        )
        behaviour = BehaviourSpec(
            policy="tanh-normal",
            policy_layers=4,
            reinforce=1.0 if discrete else 0.0,
            baseline="live" if discrete else "none",
            advantage=NoNormaliser,
            entropy=lambda _: FixedEntropy(0.0),
            value="normal",
            value_outscale=1.0,
            policy_outscale=1.0,
            slow=None,
            replay_scale=0.0,
            horizon=config.horizon,
            return_lambda=config.return_lambda,
        )
        return Recipe(model, behaviour, self._optimizers_of, SHORT_PLAN, config.act_noise)

    def _optimizers_of(self, parts: Parts) -> dict[str, Adam]:
        config = self.config
        return {k: Adam(p, config.rates[k], config.clip, eps=1e-7) for k, p in parts.items()}
