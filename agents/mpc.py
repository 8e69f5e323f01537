"""Model-predictive control with learned dynamics: PETS (Chua et al. 2018, "Deep reinforcement
learning in a handful of trials using probabilistic dynamics models"), and with other settings what
Nagabandi et al. 2018 and Lambert et al. 2019 did with random shooting.

There is no policy. The robot plans in the ensemble it has cached: each candidate is imagined by
several particles, whose mean return counts. Rewards and ends are those that the robot's task
declares; what it does not declare is learned along with the dynamics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from gymnasium import spaces
from pydantic import Field, field_validator

from agents.agent import Acting, Agent, AgentConfig, Graph, Learned, Tensors, Transitions
from agents.blocks.actions import ActionCodec
from agents.blocks.adam import FusedAdam
from agents.blocks.dynamics import Dynamics, Outcomes, experience
from agents.blocks.observe import Vectors, part
from agents.blocks.off_policy import Widths, step
from agents.blocks.state import check_pattern, chosen, flat_state, load_flat_state
from robot_client.bundle import NoiseSpec, Planning, PlanSettings, Signature, TensorSpec
from robot_client.schema import ActionSpace

Sampling = Literal["ts1", "tsinf"]
_DISCOUNT = 1.0  # so that `discount` of a batch says whether its task has ended

PETS_PLAN = PlanSettings(
    horizon=30,
    candidates=500,
    iterations=5,
    elites=50,
    momentum=0.1,
    init_std=0.5,
    warm_start=True,
    explore=0.0,
)
# What a processor can imagine within a control period of 20 ms.
SHORT_PLAN = PlanSettings(
    horizon=12,
    candidates=100,
    iterations=3,
    elites=10,
    momentum=0.1,
    init_std=0.5,
    warm_start=True,
    explore=0.0,
)


class MPCConfig(AgentConfig):
    """Defaults are those of PETS; a plan's `method` chooses shooting, CEM, MPPI or iCEM."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {
            "batch_size": 128,
            "widths": (64, 64),
            "members": 3,
            "per_member": 1,
            "plan": SHORT_PLAN,
        }
    }

    keys: str = Field(".*", description="Regular expression: the observations it sees.")
    batch_size: int = Field(256, ge=1, description="Transitions per update.")
    widths: Widths = Field((200, 200, 200), description="Hidden layers of each member.")
    members: int = Field(5, ge=1, le=64, description="Networks of the ensemble.")
    learning_rate: float = Field(1e-3, gt=0, description="Of the ensemble.")
    clip: float = Field(100.0, gt=0, description="Largest norm of the gradient.")
    per_member: int = Field(4, ge=1, le=64, description="Particles of each member, per candidate.")
    sampling: Sampling = Field(
        "tsinf", description="A particle stays with its member (tsinf), or changes it (ts1)."
    )
    plan: PlanSettings = Field(PETS_PLAN, description="How a robot plans.")

    @field_validator("keys")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return check_pattern(pattern)


class MPC(Agent):
    """Learns how the robot moves, and plans with that (PETS)."""

    config_type = MPCConfig
    accepts = ("continuous", "discrete", "vectors")

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        config: AgentConfig,
        device: torch.device,
    ) -> None:
        assert isinstance(config, MPCConfig), type(config)
        self.config, self.device = config, device
        self.demand = Transitions(config.batch_size, 1, _DISCOUNT)
        self.vectors = Vectors(chosen(observation_space, config.keys)).to(device)
        self.codec = ActionCodec(action_space).to(device)
        self.dynamics = Dynamics(self.vectors, self.codec.width, config.widths, config.members).to(
            device
        )
        self._optimizer = FusedAdam(self.dynamics.parameters(), config.learning_rate, config.clip)

    def acting(self) -> Acting:
        """What plans. A carry holds where each particle is, and the chance that it got so far."""
        config, width = self.config, self.vectors.width
        particles = config.members * config.per_member
        carry = {"x": (particles, width), "alive": (particles,)}
        signature = Signature(carry={k: TensorSpec("float32", v) for k, v in carry.items()})
        noise = {"chance": NoiseSpec((particles, width + 1), "normal", acts=False)}
        if config.sampling == "ts1":
            noise["shuffle"] = NoiseSpec((particles,), "uniform", acts=False)
        outcomes = Outcomes(self.vectors, self.codec, self.task)
        imagine = Imagine(self.dynamics, outcomes, config.sampling)
        graphs = {"filter": Spread(self.vectors, particles), "imagine": imagine}
        return Acting(signature, graphs, Planning(noise, settings=config.plan), "planner")

    def train(self, batch: Tensors) -> Learned:
        """One update of the ensemble, from (B,) transitions."""
        seen = experience(batch, self.vectors, self.codec)
        self.dynamics.learn_units(seen)
        loss, metrics = self.dynamics.loss(seen)
        return Learned({**metrics, "grad_norm": step(self._optimizer, loss)})

    def state_dict(self) -> dict[str, Any]:
        """The ensemble and its optimiser."""
        return dict(flat_state(self._kept()))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        load_flat_state(self._kept(), state)

    def _kept(self) -> dict[str, Any]:
        return {"dynamics": self.dynamics, "optimizer": self._optimizer}


class Spread(Graph):
    """Puts all particles where the robot is."""

    def __init__(self, vectors: Vectors, particles: int) -> None:
        super().__init__()
        self.vectors, self.particles = vectors, particles

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        x = self.vectors(part(inputs, "in_"))
        x = x[:, None].expand(-1, self.particles, -1)
        return {"out_carry_x": x.clone(), "out_carry_alive": torch.ones_like(x[..., 0])}


class Imagine(Graph):
    """One imagined step of N candidates, each with P particles.

    A reward is the mean over particles, each as much as it is still alive; to the planner the
    episode then goes on.
    """

    def __init__(self, dynamics: Dynamics, outcomes: Outcomes, sampling: Sampling) -> None:
        super().__init__()
        self.dynamics, self.outcomes, self.sampling = dynamics, outcomes, sampling

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        x, alive = inputs["in_carry_x"], inputs["in_carry_alive"]
        if self.sampling == "ts1":  # who is next to whom decides who asks which member
            order = inputs["in_noise_shuffle"].argsort(-1)
            x, alive = x.gather(1, order[..., None].expand_as(x)), alive.gather(1, order)
        share = x.shape[1] // self.dynamics.members
        action = inputs["in_action"].repeat_interleave(share, 0)
        action = action.expand(self.dynamics.members, *action.shape)
        chance = self._by_member(inputs["in_noise_chance"])
        found = self.outcomes.of(self.dynamics.step(self._by_member(x), action, chance), action)
        after, reward, going_on = (
            self._by_candidate(t, share) for t in (found.after, found.reward, found.going_on)
        )
        reward = (alive * reward).mean(-1)
        return {
            "out_carry_x": after,
            "out_carry_alive": alive * going_on,
            "out_reward": reward,
            "out_continue": torch.ones_like(reward),
        }

    def _by_member(self, x: torch.Tensor) -> torch.Tensor:
        """(N, P, D) -> (E, N P / E, D): each member is asked about its own particles."""
        members = self.dynamics.members
        apart = x.reshape(-1, members, x.shape[1] // members, x.shape[2])
        return apart.transpose(0, 1).flatten(1, 2)

    def _by_candidate(self, x: torch.Tensor, share: int) -> torch.Tensor:
        """(E, N P / E, ...) -> (N, P, ...), its inverse."""
        apart = x.reshape(len(x), -1, share, *x.shape[2:])
        return apart.transpose(0, 1).flatten(1, 2)
