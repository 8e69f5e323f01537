"""What all agents have in common that learn values from replayed transitions."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from pydantic import Field, field_validator
from torch import nn

from agents.agent import Agent, AgentConfig, Learned, Tensors, Transitions
from agents.blocks.adam import FusedAdam
from agents.blocks.explore import BoxExplorer, RandomShare
from agents.blocks.lookup import Descent
from agents.blocks.slow import AveragedCritic, CopiedCritic, SlowCritic
from agents.blocks.state import (
    check_pattern,
    chosen,
    flat_state,
    load_flat_state,
    restore_generator,
)
from robot_client.schema import ActionSpace

Widths = tuple[int, ...]


class OffPolicyConfig(AgentConfig):
    """What every such agent can be told."""

    keys: str = Field(".*", description="Regular expression: the observations it sees.")
    batch_size: int = Field(64, ge=1, description="Transitions per update.")
    discount: float = Field(0.99, ge=0, le=1, description="Per step.")
    n_step: int = Field(1, ge=1, le=64, description="Rewards that a target sums up.")
    priority: float = Field(
        0.0, ge=0, le=1, description="Exponent of the replay's priorities; 0: uniform."
    )
    correction: float = Field(
        0.4, ge=0, le=1, description="Of what priorities distort: exponent at first, then up to 1."
    )
    correction_updates: int = Field(100_000, ge=1, description="Updates until it is 1.")
    clip: float | None = Field(None, gt=0, description="Largest norm of each gradient, if any.")
    target_every: int = Field(
        0, ge=0, description="Updates between copies to the target networks; 0: they follow."
    )
    target_rate: float = Field(
        0.005, gt=0, le=1, description="How fast target networks follow, per update."
    )
    random_first: float = Field(
        0.0, ge=0, le=1, description="Share of random actions once it learns; all are before."
    )
    random_last: float = Field(0.0, ge=0, le=1, description="Share of random actions at last.")
    random_updates: int = Field(10_000, ge=1, description="Updates until then.")

    @field_validator("keys")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return check_pattern(pattern)


class OffPolicyAgent(Agent):
    """Counts updates, weighs rows, keeps state. A subclass builds networks and learns."""

    config: Any
    explorer: RandomShare

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        config: AgentConfig,
        device: torch.device,
    ) -> None:
        assert isinstance(config, OffPolicyConfig), type(config)
        self.config, self.device = config, device
        self.demand = Transitions(
            config.batch_size, config.n_step, config.discount, config.priority
        )
        self._updates = torch.zeros((), dtype=torch.int64, device=device)
        self._generator = torch.Generator(device).manual_seed(torch.initial_seed() % 2**63)
        self._build(chosen(observation_space, config.keys), action_space)

    @abstractmethod
    def _build(self, seen: spaces.Dict, action_space: ActionSpace) -> None:
        """Make networks, optimisers and `explorer`, on the device."""

    @abstractmethod
    def _learn(self, batch: Tensors, weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
        """One update of everything from (B,) rows, whose losses count by (B,) `weight`; metrics
        and (B,) priorities."""

    @abstractmethod
    def _kept(self) -> Mapping[str, Any]:
        """Modules and optimisers that make up the agent's state, by name."""

    def train(self, batch: Tensors) -> Learned:
        """One update of everything, from (B,) transitions."""
        metrics, priority = self._learn(batch, self._weight(batch))
        self._updates += 1
        self.explorer.update(self._updates)
        metrics["random_share"] = self.explorer.share.clone()
        return Learned(metrics, priority=priority if self.config.priority else None)

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, exploration, counters and random state."""
        own = {"updates": self._updates, "generator": self._generator.get_state()}
        return flat_state({**self._kept(), "explorer": self.explorer}) | own

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        load_flat_state({**self._kept(), "explorer": self.explorer}, state)
        self._updates.copy_(state["updates"])
        restore_generator(self._generator, state["generator"].cpu())

    def _weight(self, batch: Tensors) -> torch.Tensor:
        """(B,) how much each row counts: chance^-beta as a share of the largest, or 1."""
        if "chance" not in batch:
            return torch.ones_like(batch["return"])
        start = self.config.correction
        done = (self._updates / self.config.correction_updates).clamp(max=1)
        weight: torch.Tensor = batch["chance"] ** -(start + (1 - start) * done)
        return weight / weight.max()

    def _follower(self, net: nn.Module) -> SlowCritic:
        """A target network, on its device."""
        config = self.config
        slow: SlowCritic = AveragedCritic(net, config.target_rate)
        if config.target_every:
            slow = CopiedCritic(net, config.target_every)
        return slow.to(self.device)

    def _noisy(self, actions: int) -> BoxExplorer:
        """How a policy without noise of its own explores with (A,) numbers, on its device."""
        config = self.config
        return BoxExplorer(
            actions,
            config.random_first,
            config.random_last,
            config.random_updates,
            config.noise,
            config.deviation,
            config.pull,
        ).to(self.device)

    def _adam(self, net: nn.Module, rate: float, eps: float = 1e-8) -> FusedAdam:
        clip = math.inf if self.config.clip is None else self.config.clip
        return FusedAdam(net.parameters(), rate, clip, eps)

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self._generator, device=self.device)


def step(optimizer: Descent | FusedAdam, loss: torch.Tensor) -> torch.Tensor:
    """One update of the optimiser's parameters; the () norm of the gradient."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    return optimizer.step()
