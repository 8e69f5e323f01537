"""Dyna with networks (Sutton 1990), in the form of MBPO (Janner et al. 2019, "When to trust your
model"): DQN or SAC, by the kind of actions, learn from replayed transitions and from imagined ones.

The model is a probabilistic ensemble. Imagined branches are short, start at replayed states, follow
the current policy and are kept apart from what happened; each is imagined by members drawn anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from pydantic import Field, field_validator, model_validator

from agents.agent import Acting, Agent, AgentConfig, Learned, Tensors, Transitions
from agents.blocks.actions import ActionCodec
from agents.blocks.adam import FusedAdam
from agents.blocks.dynamics import Dynamics, Outcomes, experience
from agents.blocks.imagined import ImaginedRows, as_batch, branches
from agents.blocks.observe import Vectors
from agents.blocks.off_policy import Widths, step
from agents.blocks.state import (
    check_pattern,
    chosen,
    flat_state,
    load_flat_state,
    restore_generator,
)
from agents.dqn import DQN, DQNConfig
from agents.sac import SAC, SACConfig
from robot_client.schema import ActionSpace

_DQN, _SAC = DQNConfig.model_validate({}), SACConfig.model_validate({})


class DynaConfig(AgentConfig):
    """Defaults are MBPO's for HalfCheetah, with as many updates as a processor can make."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {
            "batch_size": 64,
            "widths": (64, 64),
            "members": 3,
            "capacity": 10_000,
            "warmup": 250,
            "updates": 5,
            "dqn": DQNConfig.presets["laptop"],
            "sac": SACConfig.presets["laptop"],
        }
    }

    keys: str = Field(".*", description="Regular expression: the observations it sees.")
    batch_size: int = Field(256, ge=1, description="Transitions per update, of every network.")
    discount: float = Field(0.99, ge=0, le=1, description="Per step.")
    updates: int = Field(
        20, ge=0, description="Updates from imagined transitions per one from real ones."
    )
    real: float = Field(
        0.05, ge=0, le=1, description="Share of real transitions in the imagined batches."
    )
    branch: int = Field(1, ge=1, le=100, description="Imagined steps from each replayed state.")
    random: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of imagined actions at random, besides the policy's own.",
    )
    warmup: int = Field(1000, ge=0, description="Updates of the model before it is believed.")
    capacity: int = Field(100_000, ge=1, description="Newest imagined transitions that are kept.")
    widths: Widths = Field((200, 200, 200, 200), description="Hidden layers of each member.")
    members: int = Field(7, ge=1, le=64, description="Networks of the model.")
    learning_rate: float = Field(1e-3, gt=0, description="Of the model.")
    clip: float = Field(100.0, gt=0, description="Largest norm of the model's gradient.")
    dqn: DQNConfig = Field(
        _DQN, description="For discrete actions; keys, batch and discount are those above."
    )
    sac: SACConfig = Field(
        _SAC, description="For continuous actions; keys, batch and discount likewise."
    )

    @field_validator("keys")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return check_pattern(pattern)

    @model_validator(mode="after")
    def _holds_a_branch(self) -> DynaConfig:
        if self.capacity < self.batch_size:
            raise ValueError(f"capacity: expected at least batch_size, got {self.capacity}")
        return self


class Dyna(Agent):
    """Learns from what happens, and from what a model says would (Dyna, MBPO)."""

    config_type = DynaConfig
    accepts = ("continuous", "discrete", "vectors")

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        config: AgentConfig,
        device: torch.device,
    ) -> None:
        assert isinstance(config, DynaConfig), type(config)
        self.config, self.device = config, device
        self.demand = Transitions(config.batch_size, 1, config.discount)
        self.vectors = Vectors(chosen(observation_space, config.keys)).to(device)
        self.codec = ActionCodec(action_space).to(device)
        self.base = _base(config, observation_space, action_space, device)
        width = self.codec.width
        self.dynamics = Dynamics(self.vectors, width, config.widths, config.members).to(device)
        self.imagined = ImaginedRows(self.vectors.width, width, config.capacity).to(device)
        self._optimizer = FusedAdam(self.dynamics.parameters(), config.learning_rate, config.clip)
        self._generator = torch.Generator(device).manual_seed(torch.initial_seed() % 2**63)
        self._updates = 0

    def acting(self) -> Acting:
        """The policy of DQN or SAC."""
        return self.base.acting()

    def train(self, batch: Tensors) -> Learned:
        """One update of the model and the base from (B,) real transitions; then the imagined."""
        seen = experience(batch, self.vectors, self.codec)
        self.dynamics.learn_units(seen)
        loss, metrics = self.dynamics.loss(seen)
        metrics["grad_norm/model"] = step(self._optimizer, loss)
        metrics |= self.base.train(batch).metrics
        self._updates += 1
        if self._updates > self.config.warmup:
            self._imagine(seen.x)
            for _ in range(self.config.updates):
                self.base.train(self._mixed(batch))
        return Learned(metrics)

    def state_dict(self) -> dict[str, Any]:
        """Model, base, what was imagined, and random state."""
        base = {f"base/{name}": t for name, t in self.base.state_dict().items()}
        own = {"updates": torch.tensor(self._updates), "generator": self._generator.get_state()}
        return {**flat_state(self._kept()), **base, **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        load_flat_state(self._kept(), state)
        prefix = "base/"
        base = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
        self.base.load_state_dict(base)
        self._updates = int(state["updates"])
        restore_generator(self._generator, state["generator"].cpu())

    def _kept(self) -> dict[str, Any]:
        return {
            "dynamics": self.dynamics,
            "optimizer": self._optimizer,
            "imagined": self.imagined,
        }

    @property
    def _outcomes(self) -> Outcomes:
        return Outcomes(self.vectors, self.codec, self.task)

    def _imagine(self, start: torch.Tensor) -> None:
        config = self.config
        for found in branches(
            self.dynamics, self._outcomes, start, self._choose, config.branch, self._generator
        ):
            self.imagined.add(found)

    @torch.no_grad()
    def _choose(self, x: torch.Tensor) -> torch.Tensor:
        """(B, A) what the policy would do, explored as `random` says."""
        action = self.codec.encode(self.base.act(self.vectors.split(x)))
        whether = self._uniform(len(x)) < self.config.random
        other = 2 * self._uniform(*action.shape) - 1
        if self.codec.discrete:
            other = self.codec.encode(other.argmax(-1))
        return torch.where(whether[:, None], other, action)

    def _mixed(self, batch: Tensors) -> Tensors:
        """A batch of which a share is real."""
        found = self.imagined.draw(self._uniform(self.config.batch_size))
        dreamt = as_batch(found, self._outcomes, self.config.discount)
        real = round(self.config.real * self.config.batch_size)
        return {k: torch.cat([batch[k][:real], dreamt[k][real:]]) for k in dreamt}

    def _uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=self._generator, device=self.device)


def _base(
    config: DynaConfig, seen: spaces.Dict, action_space: ActionSpace, device: torch.device
) -> DQN | SAC:
    """The learner of values: of one step, and without priorities, for imagined rows have none."""
    discrete = isinstance(action_space, spaces.Discrete)
    given: Any = config.dqn if discrete else config.sac
    common = {"keys": config.keys, "batch_size": config.batch_size, "discount": config.discount}
    full = given.model_copy(update={**common, "n_step": 1, "priority": 0.0})
    kind = DQN if discrete else SAC
    return kind(seen, action_space, full, device)
