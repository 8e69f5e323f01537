"""PlaNet (Hafner et al. 2019, "Learning latent dynamics for planning from pixels").

A recurrent world model and its reward head, and no policy: the robot plans in the model's states.
It samples action sequences, refits their distribution to the best of them (CEM), executes the
first action and plans again. One agent learns any number of tasks at once: robots that run
different tasks stream into one experiment, their actions padded to one width, and the model tells
the tasks apart by what it sees.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from agents.blocks.adam import Adam
from agents.blocks.nets import RELU
from agents.world.agent import Parts, Recipe, WorldAgent, WorldConfig
from agents.world.coding import PLANET
from agents.world.kl import FreeNatsPerStep
from agents.world.model import ModelSpec
from agents.world.rssm import Core
from agents.world.sizes import PLANET_SIZES
from robot_client.bundle import PlanSettings

# A processor has no time to search from scratch at every step.
LAPTOP_PLAN = PlanSettings(horizon=15, candidates=200, iterations=3, elites=20, warm_start=True)


class PlanetConfig(WorldConfig):
    """Defaults are the paper's. It gives the plan's rewards no discount and no value beyond."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {
            "size": "tiny",
            "batch_size": 16,
            "batch_length": 16,
            "free_nats": 0.3,
            "vector_scale": 30.0,
            "reward_scale": 30.0,
            "plan": LAPTOP_PLAN,
        }
    }

    size: Literal["tiny", "paper"] = Field("paper", description="Widths of all networks.")
    batch_size: int = Field(50, ge=1, description="Windows per update.")
    batch_length: int = Field(50, ge=2, description="Rows per window.")
    free_nats: float = Field(3.0, ge=0, description="Divergence that costs nothing, per step.")
    vector_scale: float = Field(
        1.0, ge=0, description="Weight of predicting vectors; the paper has pixels only."
    )
    reward_scale: float = Field(10.0, ge=0, description="Weight of predicting the reward.")
    learning_rate: float = Field(1e-3, gt=0, description="Of all networks.")
    clip: float = Field(1000.0, gt=0, description="Largest norm of the gradient.")
    plan: PlanSettings = Field(PlanSettings(), description="How a robot plans; CEM in the paper.")


class Planet(WorldAgent):
    """Learns a world model to plan in (PlaNet)."""

    config_type = PlanetConfig
    config: PlanetConfig

    def recipe(self, discrete: bool) -> Recipe:
        """Planning takes both kinds of actions."""
        config = self.config
        model = ModelSpec(
            PLANET_SIZES[config.size],
            replace(PLANET, vector_scale=config.vector_scale),
            Core("gru", "gaussian", style=RELU, prior_layers=1),
            lambda: FreeNatsPerStep(config.free_nats),
            reward="normal",
            reward_outscale=1.0,
            reward_layers=3,
            reward_scale=config.reward_scale,
            continue_layers=0,
            discount=1.0,
            folds_discount=False,
            replay_context=False,
            **config.curiosity,
        )
        return Recipe(model, None, self._optimizers_of, config.plan)

    def _optimizers_of(self, parts: Parts) -> dict[str, Adam]:
        config = self.config
        rate, clip = config.learning_rate, config.clip
        return {k: Adam(p, rate, clip, eps=1e-4) for k, p in parts.items()}
