"""Dreamer, third generation as published in 2025 (Hafner et al., "Mastering diverse control tasks
through world models"), with every detail of its reference code that the paper leaves out.

A recurrent world model learns to predict what the robot will sense, the reward and whether the
episode goes on. Actor and critic learn from dreams that start at every replayed state; the actor
by REINFORCE, for continuous and discrete actions alike. One loss, one optimiser. Replayed windows
start from the recurrent state that was stored with the row before them, and store theirs back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from agents.blocks.control import FixedEntropy
from agents.blocks.optim import LaProp
from agents.world.agent import Parts, Recipe, WorldAgent, WorldConfig
from agents.world.behaviour import BehaviourSpec
from agents.world.coding import DREAMER_V3
from agents.world.kl import DynRepKL
from agents.world.model import ModelSpec
from agents.world.plans import SHORT_PLAN
from agents.world.sizes import SIZES

SizeName = Literal["tiny", "1M", "12M", "25M", "50M", "100M", "200M", "400M"]


class DreamerConfig(WorldConfig):
    """Defaults are the reference's; only `size` is meant to be chosen per robot."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {
            "size": "tiny",
            "batch_size": 8,
            "batch_length": 32,
            "learning_rate": 6e-4,
            "warmup": 100,
            "discount_horizon": 50.0,
        }
    }

    size: SizeName = Field("12M", description="Widths of all networks; tiny is for laptops.")
    horizon: int = Field(15, ge=1, description="Imagined steps.")
    discount_horizon: float = Field(333.0, gt=1, description="1 / (1 - discount).")
    return_lambda: float = Field(0.95, ge=0, le=1, description="Lambda of the returns.")
    entropy: float = Field(3e-4, ge=0, description="Scale of the actor's entropy bonus.")
    learning_rate: float = Field(4e-5, gt=0, description="Of all networks.")
    warmup: int = Field(1000, ge=1, description="Updates until the full learning rate.")
    agc: float = Field(0.3, gt=0, description="Gradient norm allowed per parameter norm.")
    free_nats: float = Field(1.0, ge=0, description="Divergence that costs nothing, per step.")
    dyn_scale: float = Field(1.0, ge=0, description="Weight of teaching the prior.")
    rep_scale: float = Field(0.1, ge=0, description="Weight of making states predictable.")
    replay_value_scale: float = Field(0.3, ge=0, description="Weight of the critic on real rows.")
    strided: bool = Field(False, description="Stride instead of pooling: cheaper on robots.")

    @property
    def discount(self) -> float:
        """Per step; folded into the continue head."""
        return 1 - 1 / self.discount_horizon


class Dreamer(WorldAgent):
    """Learns a world model, and to act from its dreams (DreamerV3)."""

    config_type = DreamerConfig
    config: DreamerConfig

    def recipe(self, discrete: bool) -> Recipe:
        """Nothing depends on the kind of actions but the policy's distribution."""
        config = self.config
        coding = replace(DREAMER_V3, convolution="strided") if config.strided else DREAMER_V3
        model = ModelSpec(
            SIZES[config.size],
            coding,
            divergence=lambda: DynRepKL(config.dyn_scale, config.rep_scale, config.free_nats),
            discount=config.discount,
            **config.curiosity,
        )
        behaviour = BehaviourSpec(
            entropy=lambda _: FixedEntropy(config.entropy),
            replay_scale=config.replay_value_scale,
            horizon=config.horizon,
            return_lambda=config.return_lambda,
        )
        return Recipe(model, behaviour, self._optimizers_of, SHORT_PLAN)

    def _optimizers_of(self, parts: Parts) -> dict[str, LaProp]:
        config = self.config
        every = [p for part in parts.values() for p in part]
        rate, agc, warmup = config.learning_rate, config.agc, config.warmup
        return {"all": LaProp(every, lr=rate, agc=agc, warmup=warmup)}
