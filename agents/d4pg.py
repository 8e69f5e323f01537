"""D4PG (Barth-Maron et al. 2018, "Distributed distributional deterministic policy gradients").

DDPG with a critic of the return's distribution, returns over several steps, and target networks
that are copied once in a while. Its actors, many in the paper, are the robots of an experiment.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agents.blocks.explore import NoiseName
from agents.blocks.values import Atoms, Head
from agents.ddpg import DDPG, DDPGConfig

_LAPTOP = {
    "batch_size": 128,
    "actor_widths": (256, 256),
    "critic_widths": (256, 256),
    "actor_learning_rate": 1e-3,
    "critic_learning_rate": 1e-3,
    "deviation": 0.2,
}


class D4PGConfig(DDPGConfig):
    """Defaults are those of its authors' later code (acme), without its layer norms."""

    presets = {"laptop": _LAPTOP}  # noqa: RUF012 - a ClassVar of the base

    batch_size: int = Field(256, ge=1, description="Transitions per update.")
    n_step: int = Field(5, ge=1, le=64, description="Rewards that a target sums up.")
    actor_widths: tuple[int, ...] = Field((300, 200), description="Hidden layers of the actor.")
    actor_learning_rate: float = Field(1e-4, gt=0, description="Of the actor.")
    critic_learning_rate: float = Field(1e-4, gt=0, description="Of the critic.")
    target_every: int = Field(
        100, ge=0, description="Updates between copies to the target networks; 0: they follow."
    )
    noise: NoiseName = Field("normal", description="Independent (normal), or drifting (ou).")
    deviation: float = Field(
        0.3, ge=0, description="Of the noise at each step; an action's range is 2."
    )
    atoms: int = Field(51, ge=2, le=1024, description="Of the distribution of returns.")
    low: float = Field(-150.0, description="The least discounted return.")
    high: float = Field(150.0, description="The greatest discounted return.")


class D4PG(DDPG):
    """Learns the distribution of returns, and a policy by its mean's gradient (D4PG)."""

    config_type: ClassVar[type[D4PGConfig]] = D4PGConfig
    config: D4PGConfig

    def head(self) -> Head:
        """Probabilities of returns."""
        return Atoms(self.config.atoms, self.config.low, self.config.high)
