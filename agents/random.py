"""Acts at random and learns nothing: the baseline, and a first look at a new robot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from agents.agent import Acting, Actor, Agent, AgentConfig, Learned, Nothing, Tensors
from agents.errors import UnsupportedSpace
from robot_client.bundle import NoiseSpec, Signature
from robot_client.schema import ActionSpace


class RandomConfig(AgentConfig):
    """There is nothing to configure."""


class Random(Agent):
    """Uniform over the action space, independent of what it sees."""

    config_type = RandomConfig
    demand = Nothing()

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        config: AgentConfig,
        device: torch.device,
    ) -> None:
        if isinstance(action_space, spaces.Box) and not action_space.is_bounded():
            raise UnsupportedSpace("action_space", "a bounded Box, or Discrete", action_space)
        self.device = device
        self._actor = _UniformActor(action_space).to(device)

    def acting(self) -> Acting:
        """The uniform policy."""
        return Acting(self._actor.signature, {"policy": self._actor})

    def train(self, batch: Tensors) -> Learned:
        """Nothing to learn."""
        return Learned(metrics={})

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Accepts only the empty state."""
        if state:
            raise ValueError(f"expected no tensors, got {sorted(state)}")


class _UniformActor(Actor):
    low: torch.Tensor
    width: torch.Tensor

    def __init__(self, action_space: ActionSpace) -> None:
        super().__init__()
        self._space = action_space
        shape = tuple(action_space.shape or ())
        self.signature = Signature(noise={"action": NoiseSpec(shape, "uniform", acts=False)})
        if isinstance(action_space, spaces.Box):
            low, high = (np.asarray(b, np.float32) for b in (action_space.low, action_space.high))
            self.register_buffer("low", torch.from_numpy(low), persistent=False)
            self.register_buffer("width", torch.from_numpy(high - low), persistent=False)

    def forward(self, inputs: Tensors) -> Tensors:
        uniform = inputs["in_noise_action"]
        if isinstance(self._space, spaces.Discrete):
            return {"out_action": (uniform * int(self._space.n)).to(torch.int64)}
        return {"out_action": self.low + uniform * self.width}
