"""What all actor-critics have in common that learn from what the fleet has just done.

The robots are the asynchronous workers. By the time their rows arrive the policy has moved on, so
every row brings what its own policy gave for the distribution of actions, `policy/behaviour`, and
V-trace weighs it. With the parameters rather than a single log-probability, the weight is that of
the action which was executed, should the robot's safety have changed it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from gymnasium import spaces
from pydantic import Field, field_validator
from torch import nn

from agents.agent import Agent, AgentConfig, Learned, OnPolicy, Tensors
from agents.blocks.actions import ActionCodec
from agents.blocks.adam import FusedAdam
from agents.blocks.policies import Categorical, TruncatedNormal, categorical, truncated_normal
from agents.blocks.state import (
    check_pattern,
    chosen,
    flat_state,
    load_flat_state,
    restore_generator,
)
from agents.blocks.vtrace import Found, vtrace
from agents.ddpg import bounded_codec
from robot_client.bundle import NoiseSpec, TensorSpec
from robot_client.schema import (
    ACTION,
    EXTRA_PREFIX,
    IS_LAST,
    IS_TERMINAL,
    REWARD,
    ActionSpace,
)

_ADAM_EPS = 1e-5
BEHAVIOUR = "behaviour"  # the extra in which rows bring their policy's raw output


class OnPolicyConfig(AgentConfig):
    """What every such agent can be told."""

    keys: str = Field(".*", description="Regular expression: the observations it sees.")
    batch_size: int = Field(16, ge=1, description="Rollouts per update.")
    n_step: int = Field(5, ge=1, le=256, description="Steps of a rollout; returns go to its end.")
    max_lag: int = Field(10, ge=0, description="Policy versions after which a rollout is too old.")
    discount: float = Field(0.99, ge=0, le=1, description="Per step.")
    learning_rate: float = Field(7e-4, gt=0, description="Of Adam.")
    clip: float = Field(0.5, gt=0, description="Largest norm of the gradient.")
    entropy: float = Field(0.01, ge=0, description="Weight of the policy's entropy.")
    value_scale: float = Field(0.5, gt=0, description="Weight of the critic's squared error.")

    @field_validator("keys")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return check_pattern(pattern)


class ActionHead(nn.Module):
    """Raw outputs (..., width) -> a distribution of actions, of choices or of bounded numbers.

    Numbers are normally distributed within their bounds: nothing is clipped, so what was executed
    has a density. (Mnih et al. 2016 use a plain normal distribution.)

    Raises UnsupportedSpace for numbers without bounds.
    """

    def __init__(self, action_space: ActionSpace) -> None:
        super().__init__()
        self.discrete = isinstance(action_space, spaces.Discrete)
        self.codec = ActionCodec(action_space) if self.discrete else bounded_codec(action_space)
        self.width = self.codec.width if self.discrete else 2 * self.codec.width
        kind = "gumbel" if self.discrete else "normal"
        self.noise = NoiseSpec((self.codec.width,), kind, acts=True)  # type: ignore[arg-type]
        self.spec = TensorSpec("float32", (self.width,))

    def forward(self, raw: torch.Tensor) -> Categorical | TruncatedNormal:
        """The distribution."""
        if self.discrete:
            return categorical(raw)
        mean, std = raw.chunk(2, -1)
        return truncated_normal(mean, std)

    def log_prob(self, raw: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """(...) of actions as the robot executed them."""
        taken = action if self.discrete else self.codec.encode(action).clamp(-1, 1)
        found: torch.Tensor = self(raw).log_prob(taken)
        return found

    def draw(self, raw: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Actions in the robot's scale."""
        sampled: torch.Tensor = self(raw).sample(noise)
        return sampled if self.discrete else self.codec.decode(sampled)


class Opinion(NamedTuple):
    """What a network makes of rows (B, T): the head's raw output (B, T, width), values (B, T), and,
    by name, losses of its own, () each."""

    raw: torch.Tensor
    value: torch.Tensor
    losses: Tensors


class OnPolicyAgent(Agent):
    """Advantage actor-critic on fresh rollouts. A subclass builds the network and looks at rows."""

    config: Any
    before = 0  # rows that a rollout needs besides, before its first step
    optimizers: dict[str, FusedAdam]  # of everything that the losses move, each part in one

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        config: AgentConfig,
        device: torch.device,
    ) -> None:
        assert isinstance(config, OnPolicyConfig), type(config)
        self.config, self.device = config, device
        self._generator = torch.Generator(device).manual_seed(torch.initial_seed() % 2**63)
        self.head = ActionHead(action_space).to(device)
        self._build(chosen(observation_space, config.keys))
        shared = 1 + self.before
        self.demand = OnPolicy(
            config.batch_size, config.n_step + shared, config.max_lag, overlap=shared
        )

    @abstractmethod
    def _build(self, seen: spaces.Dict) -> None:
        """Make networks and optimisers, on the device, for the observations that it sees."""

    @abstractmethod
    def opinion(self, batch: Tensors) -> Opinion:
        """What the network makes of the rows of a rollout, without those `before`."""

    @abstractmethod
    def _kept(self) -> Mapping[str, Any]:
        """Modules and optimisers that make up the agent's state, by name."""

    def losses(self, batch: Tensors) -> tuple[torch.Tensor, Tensors]:
        """The total loss of an update from (B, before + T + 1) rows, and metrics."""
        config, rows = self.config, self._rows(batch)
        seen = self.opinion(batch)
        acted = ~rows[IS_LAST][:, :-1]  # no action belongs to the last row of an episode
        raw, action = seen.raw[:, :-1], rows[ACTION][:, :-1]
        log_prob = torch.where(acted, self.head.log_prob(raw, action), 0.0)
        then = self.head.log_prob(rows[EXTRA_PREFIX + BEHAVIOUR][:, :-1], action)
        log_rho = torch.where(acted, log_prob.detach() - then, 0.0)
        found = self.targets(rows, log_rho, seen.value.detach())
        error = (found.target - seen.value[:, :-1]).square()
        losses = {
            "policy": -_mean(log_prob * found.advantage, acted),
            "value": config.value_scale * _mean(error, acted),
        }
        entropy = _mean(self.head(raw).entropy(), acted)
        losses |= {"entropy": -config.entropy * entropy, **seen.losses}
        metrics = {f"loss/{name}": loss.detach() for name, loss in losses.items()}
        metrics |= {"entropy": entropy.detach(), "value": _mean(seen.value[:, :-1], acted).detach()}
        metrics["ratio"] = _mean(log_rho.exp(), acted)
        return torch.stack([*losses.values()]).sum(), metrics

    def targets(self, rows: Tensors, log_rho: torch.Tensor, value: torch.Tensor) -> Found:
        """Of the steps (B, T) between rows (B, T + 1), by the rows' values."""
        discount = self.config.discount * (~rows[IS_TERMINAL][:, 1:]).to(value.dtype)
        ends = rows[IS_LAST][:, 1:]
        return vtrace(log_rho, rows[REWARD][:, 1:], discount, value[:, :-1], value[:, 1:], ends)

    def train(self, batch: Tensors) -> Learned:
        """One update of everything, from (B, before + T + 1) rows."""
        loss, metrics = self.losses(batch)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for name, optimizer in self.optimizers.items():
            metrics[f"grad_norm/{name}"] = optimizer.step()
        return Learned(metrics)

    def _adam(self, net: nn.Module) -> FusedAdam:
        return FusedAdam(net.parameters(), self.config.learning_rate, self.config.clip, _ADAM_EPS)

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, counters and random state."""
        return flat_state(self._kept()) | {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        load_flat_state(self._kept(), state)
        restore_generator(self._generator, state["generator"].cpu())

    def _rows(self, batch: Tensors) -> Tensors:
        """Columns (B, T + 1, ...) without the rows that come before."""
        skipped = {k: t for k, t in batch.items() if k != "prev_action"}
        return {name: tensor[:, self.before :] for name, tensor in skipped.items()}


def _mean(values: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """() of those (B, T) that count; 0 where none does."""
    return torch.where(counts, values, 0.0).sum() / counts.sum().clamp(min=1)
