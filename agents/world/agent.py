"""An agent with a world model: what PlaNet and all Dreamers have in common.

A generation is a `Recipe`, made from its configuration. Whatever differs between them is a
strategy in it; this class only runs them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Self

import torch
from gymnasium import spaces
from pydantic import Field, field_validator, model_validator
from torch import nn

from agents.agent import Acting, Agent, AgentConfig, Learned, Sequences, Tensors
from agents.blocks.adam import Adam
from agents.blocks.capture import Captured
from agents.blocks.dists import gumbel
from agents.blocks.optim import LaProp
from agents.blocks.state import (
    check_pattern,
    chosen,
    flat_state,
    load_flat_state,
    restore_generator,
    twin,
)
from agents.blocks.views import frozen_view
from agents.errors import UnsupportedSpace
from agents.world.behaviour import Behaviour, BehaviourSpec
from agents.world.graphs import acting
from agents.world.model import CONTEXT, ModelSpec, WorldModel
from agents.world.pictures import film, signals
from agents.world.rssm import States, features
from agents.world.vector_units import WEIGHT
from robot_client.bundle import PlanSettings
from robot_client.schema import IS_TERMINAL, REWARD, ActionSpace

_REPORTED = 4  # windows in the report
_SEEN = 5  # rows that the report's open-loop prediction sees first
_WARMUP = 3  # updates before one is captured
_DECIDED = 4.0  # outscale of the posterior where small things are to be seen

Optimizer = LaProp | Adam
Parts = dict[str, list[nn.Parameter]]


class WorldConfig(AgentConfig):
    """What every agent with a world model can be told."""

    keys: str = Field(".*", description="Regular expression: the observations it sees.")
    batch_size: int = Field(16, ge=1, description="Windows per update.")
    batch_length: int = Field(64, ge=2, description="Rows per window.")
    ensemble: int = Field(
        0, ge=0, le=32, description="Models whose disagreement tells what is new; 0: none."
    )
    exploit: float = Field(1.0, ge=0, description="With an ensemble: weight of the reward.")
    explore: float = Field(0.0, ge=0, description="With an ensemble: weight of what is new.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="Of the layers; losses and parameters stay in float32."
    )
    compiled: bool = Field(False, description="torch.compile the losses: minutes at the start.")
    pictures: Literal["whole", "changes"] = Field(
        "whole",
        description="changes: pictures are seen and predicted as what differs from their mean, for "
        "scenes in which little moves.",
    )
    vectors: Literal["given", "own"] = Field(
        "given",
        description="own: units of their own; each number is seen and predicted in its deviations "
        "from its mean, for vectors of rad, rad/s and N.",
    )
    reward_offset: float = Field(
        0.0,
        description="Taken from every reward, for tasks without end whose rewards are far from 0: "
        "large returns are learned coarsely.",
    )
    captured: bool = Field(False, description="Capture the update in a CUDA graph; needs a GPU.")

    @field_validator("keys")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return check_pattern(pattern)

    @model_validator(mode="after")
    def _explores_with_an_ensemble(self) -> Self:
        if self.explore and self.ensemble < 2:
            raise ValueError("to explore takes an ensemble of at least 2")
        return self

    @property
    def curiosity(self) -> dict[str, Any]:
        """The fields of a `ModelSpec` about what is new."""
        return {"members": self.ensemble, "exploit": self.exploit, "explore": self.explore}


class ActorCriticConfig(WorldConfig):
    """Of the agents from before DreamerV3, whose model, actor and critic learn at three rates."""

    horizon: int = Field(15, ge=1, description="Imagined steps.")
    return_lambda: float = Field(0.95, ge=0, le=1, description="Lambda of the returns.")
    learning_rate: float = Field(1e-4, gt=0, description="Of the world model.")
    actor_learning_rate: float = Field(1e-4, gt=0, description="Of the actor.")
    value_learning_rate: float = Field(1e-4, gt=0, description="Of the critic.")
    clip: float = Field(100.0, gt=0, description="Largest norm of each gradient.")

    @property
    def rates(self) -> dict[str, float]:
        """Learning rates by the part of the agent, see `Recipe`."""
        return {
            "model": self.learning_rate,
            "policy": self.actor_learning_rate,
            "value": self.value_learning_rate,
            "ensemble": self.learning_rate,
        }


@dataclass(frozen=True)
class Recipe:
    """What one generation is made of.

    Args:
        model: its world model.
        behaviour: its actor and critic; None for an agent that only plans.
        optimizers: by name, from the parameters of the parts that there are of model, policy, value
            and ensemble. (Apart: a gradient of the ensemble must not use up the model's clipping.)
        plan: how a robot plans with the model, unless told otherwise.
        act_noise: deviation of the noise added to the policy's actions to explore.
    """

    model: ModelSpec
    behaviour: BehaviourSpec | None
    optimizers: Callable[[Parts], Mapping[str, Optimizer]]
    plan: PlanSettings
    act_noise: float = 0.0


def _with_standards(model: ModelSpec, config: WorldConfig) -> ModelSpec:
    """The model for pictures in which little changes, or for vectors in units of their own.

    For such pictures categorical states start more decided, too: drawn at random they hide a small
    thing in noise.
    """
    coding, core = model.coding, model.core
    if config.pictures == "changes":
        coding = replace(coding, changes=True)
        wide = _DECIDED if core.latent == "categorical" else 1.0
        core = replace(core, posterior_outscale=wide)
    if config.vectors == "own":
        coding = replace(coding, own_units=True, vector_scale=WEIGHT)
    return replace(model, coding=coding, core=core)


class Noise(NamedTuple):
    """All randomness of one update: of the latent's kind, and of the policy's."""

    posterior: torch.Tensor  # (B, T, S, K) or (B, T, S)
    dream: torch.Tensor | None = None  # (H, N, S, K) or (H, N, S)
    action: torch.Tensor | None = None  # (H + 1, N, A)


class WorldAgent(Agent):
    """Learns a world model from replayed windows and, if its recipe says so, to act in its dreams.

    Observations: float vectors, square images, Discrete. Actions: Box or Discrete.
    `UnsupportedSpace` says what does not fit.
    """

    config: Any

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        config: AgentConfig,
        device: torch.device,
    ) -> None:
        assert isinstance(config, WorldConfig), type(config)
        if config.captured and device.type != "cuda":
            raise UnsupportedSpace("captured", "a GPU", device.type)
        self.config, self.device = config, device
        recipe = self.recipe(isinstance(action_space, spaces.Discrete))
        self._recipe = recipe = replace(recipe, model=_with_standards(recipe.model, config))
        context = CONTEXT if recipe.model.replay_context else ()
        self.demand = Sequences(config.batch_size, config.batch_length, context)
        seen = chosen(observation_space, config.keys)
        self.world = WorldModel(seen, action_space, recipe.model).to(device)
        self.behaviour = (
            Behaviour(self.world, action_space, recipe.behaviour).to(device)
            if recipe.behaviour
            else None
        )
        # To dream in: gradients may pass through it, but not into it.
        through = self.behaviour is not None and self.behaviour.through
        self._still = frozen_view(self.world) if through else self.world
        self._optimizers = recipe.optimizers(self._parts())
        self._generator = torch.Generator(device).manual_seed(torch.initial_seed() % 2**63)
        self._losses = self.losses
        if config.compiled:  # batches never change their shape: none is to be guessed from others'
            self._losses = torch.compile(self.losses, dynamic=False)
        self._captured = (
            Captured(self._update, self._generator, _WARMUP) if config.captured else None
        )

    @abstractmethod
    def recipe(self, discrete: bool) -> Recipe:
        """What the agent is made of, for Discrete or Box actions."""

    def acting(self) -> Acting:
        """The policy where there is one, and what is needed to plan."""
        return acting(self.world, self.behaviour, self._recipe.plan, self._recipe.act_noise)

    def train(self, batch: Tensors) -> Learned:
        """One update of everything, from (B, T) rows."""
        return self._captured(batch) if self._captured else self._update(batch)

    def _update(self, batch: Tensors) -> Learned:
        noise = self.draw(*batch[REWARD].shape)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"
        ):
            loss, metrics, states = self._losses(batch, noise)
        for optimizer in self._optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for name, optimizer in self._optimizers.items():
            metrics[f"grad_norm/{name}"] = optimizer.step()
        if self.behaviour is not None:
            self.behaviour.after_update()
        if not self._recipe.model.replay_context:
            return Learned(metrics)
        stoch = self.world.rssm.latent.pack(states.stoch)
        return Learned(metrics, {"deter": states.deter.half(), "stoch": stoch})

    def draw(self, batch: int, length: int) -> Noise:
        """The randomness of an update on (B, T) rows."""
        latent = self.world.rssm.latent
        posterior = self._sample(latent.noise, batch, length, *latent.shape)
        if self.behaviour is None:
            return Noise(posterior)
        horizon, rows = self.behaviour.spec.horizon, batch * length
        return Noise(
            posterior,
            self._sample(latent.noise, horizon, rows, *latent.shape),
            self._sample(self.behaviour.noise, horizon + 1, rows, self.world.codec.width),
        )

    def losses(self, batch: Tensors, noise: Noise) -> tuple[torch.Tensor, Tensors, States]:
        """The total loss, metrics, and the states (B, T, ...) that the rows were given."""
        batch = batch | {REWARD: batch[REWARD] - self.config.reward_offset}
        self.world.encoder.see(batch)
        states = self.world.filter(batch, noise.posterior)
        losses, divergence = self.world.losses(batch, states)
        metrics = {"kl": divergence.detach().mean()}
        if self.behaviour is not None:
            behaviour, more = self._behaviour_losses(self.behaviour, batch, states, noise)
            losses |= behaviour
            metrics |= more
        means = {name: loss.mean() for name, loss in losses.items()}
        total = torch.stack([*means.values()]).sum()
        metrics |= {f"loss/{name}": mean.detach() for name, mean in means.items()}
        return total, metrics, States(*(x.detach() for x in states))

    def _behaviour_losses(
        self, behaviour: Behaviour, batch: Tensors, states: States, noise: Noise
    ) -> tuple[Tensors, Tensors]:
        assert noise.dream is not None
        assert noise.action is not None
        dream = behaviour.dream(self._still, states, noise.dream, noise.action)
        ended = batch[IS_TERMINAL].flatten()
        losses, returns, metrics = behaviour.losses(self._still, dream, ended)
        if behaviour.spec.replay_scale:
            feat = features(states.deter, states.stoch)
            loss = behaviour.replay_loss(batch, feat, returns, self._recipe.model.discount)
            losses["replay_value"] = behaviour.spec.replay_scale * loss
        return losses, metrics

    @torch.no_grad()
    def report(self, batch: Tensors) -> dict[str, torch.Tensor]:
        """Open-loop prediction: sees 5 rows, then the actions only, until the window ends.

        Images: truth above prediction above error, (T, 3 H, windows * W, C). Vectors: the first
        window's truth and prediction, (T, K, 2). What is learned does not depend on it.
        """
        few = {name: tensor[:_REPORTED] for name, tensor in batch.items()}
        latent, chance = self.world.rssm.latent, twin(self._generator)
        noise = self._sample(latent.noise, *few[REWARD].shape, *latent.shape, generator=chance)
        decoder = self.world.decoder
        pred = self.world.open_loop(few, noise, _SEEN)
        return {
            f"open_loop_{key}": film(few[key], pred[key])
            if key in decoder.layout.images
            else signals(decoder.numbers(key, few[key]), pred[key])
            for key in pred
            if key not in decoder.layout.classes
        }

    def state_dict(self) -> dict[str, Any]:
        """Networks, slow critic, normalisers, optimisers and random state."""
        return flat_state(self._kept()) | {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        load_flat_state(self._kept(), state)
        restore_generator(self._generator, state["generator"].cpu())

    def _kept(self) -> dict[str, Any]:
        kept: dict[str, Any] = {"world": self.world}
        if self.behaviour is not None:
            kept["behaviour"] = self.behaviour
        return kept | {f"optimizer.{name}": o for name, o in self._optimizers.items()}

    def _parts(self) -> Parts:
        ensemble = [*self.world.ensemble.parameters()] if self.world.ensemble else []
        watching = {id(p) for p in ensemble}
        parts = {"model": [p for p in self.world.parameters() if id(p) not in watching]}
        if self.behaviour is not None:
            parts["policy"] = [*self.behaviour.policy.parameters()]
            parts["value"] = [*self.behaviour.value.parameters()]
        return parts | ({"ensemble": ensemble} if ensemble else {})

    def _sample(
        self, kind: str, *shape: int, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        generator = generator or self._generator
        if kind == "normal":
            return torch.randn(shape, generator=generator, device=self.device)
        return gumbel(shape, generator)
