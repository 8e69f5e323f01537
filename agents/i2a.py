"""I2A (Weber et al. 2017, "Imagination-augmented agents for deep reinforcement learning").

For every action the agent imagines what would come of it: that action first, then those that a
small rollout policy takes, `depth` steps in a learned model of the environment. A rollout is read
from its end to its beginning into a code; the codes of all actions join what a model-free path
sees, and an actor-critic (`agents.a3c`, with V-trace) learns end to end what to make of both. It
may learn to ignore a model that is wrong.

Where sources differ. The rollout policy learns from the actor by cross-entropy under the actor's
probabilities, as the papers do; the lecture writes the other divergence, and the paper's appendix
drops a minus sign, with which it would be driven away. The model sees the last four frames, as the
lecture draws it (`frames`: 1 is enough where nothing is hidden). It is fitted to the first rows, of
random actions as the lecture has it or of an A3C that learns meanwhile without imagination as the
paper has it (`collect`), then kept up to date. It predicts the reward as a number, by its squared
error, where the paper has a class for each reward that there is. The paper's losses are kept, with
entropy, of which the slide says nothing.

A learned model imagines every cell for itself, so what moves may vanish or be in two places; of
planes in general nothing says which count is kept, things may be eaten. `model` has two others: the
true rules, which shows what its errors cost, and a copy, which shows what it brings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from gymnasium import spaces
from pydantic import Field
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.agent import Acting, Actor, Learned, Tensors
from agents.blocks.adam import FusedAdam
from agents.blocks.grids import EnvironmentModel, Experience, Planes, begun, frames_of
from agents.blocks.nets import RELU, Dense
from agents.blocks.observe import part
from agents.blocks.on_policy import BEHAVIOUR, ActionHead, OnPolicyAgent, OnPolicyConfig, Opinion
from agents.blocks.policies import told
from agents.blocks.rollouts import Eye, RolloutEncoder, RolloutPolicy, Rollouts, imagine
from agents.blocks.sokoban import SokobanRules
from agents.errors import UnsupportedSpace
from robot_client.bundle import NoiseSpec, Signature, TensorSpec
from robot_client.schema import ACTION, EXTRA_PREFIX, IS_FIRST, IS_LAST, REWARD, ActionSpace

DREAMS = "dreams"  # the noise of the imagined actions, which goes with the row


class I2AConfig(OnPolicyConfig):
    """Small nets for small grids: the paper's have 16 to 64 channels and 256 to 512 cells."""

    depth: int = Field(3, ge=0, le=15, description="Imagined steps; 0: the model-free path alone.")
    model: Literal["learned", "true", "copy"] = Field(
        "learned",
        description="true: the rules of the world, known for Sokoban seen as planes."
        " copy: a control that says that nothing ever changes.",
    )
    frames: int = Field(4, ge=1, le=16, description="Last frames that it sees, the newest too.")
    channels: int = Field(16, ge=1, description="Of convolutions, but for the model's.")
    width: int = Field(64, ge=1, description="Of dense layers.")
    cells: int = Field(32, ge=1, description="Of the LSTM that reads a rollout.")
    model_channels: int = Field(32, ge=1, description="Of the model's convolutions.")
    collect: Literal["random", "policy"] = Field(
        "random", description="Who acts while rows for the model come in, before it is used."
    )
    model_rows: int = Field(
        10_000, ge=1, description="Rows until the model is used; the newest that it is fitted to."
    )
    model_batch: int = Field(64, ge=1, description="Rows of one fit.")
    fits: int = Field(16, ge=0, description="Of the model with each update until it is used.")
    refits: int = Field(1, ge=0, description="Of the model with each update from then on.")
    most_fits: int = Field(
        1_000_000, ge=0, description="Of the model in all; a few make a poor one."
    )
    model_learning_rate: float = Field(3e-3, gt=0, description="Of the model's Adam.")
    reward_scale: float = Field(1.0, gt=0, description="Of the reward's error in the model's loss.")


class ImaginingNet(nn.Module):
    """Frames -> the head's raw output and the value, by the model-free path and what is imagined.

    `awake` is 0 while actions are random, `trusted` is 0 while the model is not used: both travel
    with the weights, so that a phase reaches the robots with its version.
    """

    awake: torch.Tensor
    trusted: torch.Tensor

    def __init__(self, planes: Planes, actions: int, config: I2AConfig) -> None:
        super().__init__()
        shape, width = planes.shape, config.width
        self.depth = config.depth
        self.free = Eye(config.frames * shape[0], shape, config.channels, width)
        if self.depth:
            self.encoder = RolloutEncoder(shape, config.channels, width, config.cells)
        inputs = width + actions * config.cells * bool(self.depth)
        self.joint = Dense(inputs, width, norm=False, act=True, style=RELU)
        self.actor = Dense(width, actions, norm=False, act=False, outscale=0.01, style=RELU)
        self.critic = Dense(width, 1, norm=False, act=False, style=RELU)
        self.register_buffer("awake", torch.ones(()))
        self.register_buffer("trusted", torch.ones(()))

    def forward(
        self, frames: torch.Tensor, rollouts: Rollouts | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, K, C, H, W) and what is imagined -> raw (B, A) and value (B,)."""
        x = self.free(frames.flatten(1, 2))
        if rollouts is not None:
            x = torch.cat([x, self.trusted * self.encoder(rollouts)], -1)
        x = self.joint(x)
        return self.awake * self.actor(x), self.critic(x)[:, 0]


class Imagination(nn.Module):
    """The model and the rollout policy; nothing where nothing is imagined."""

    def __init__(self, planes: Planes, actions: int, config: I2AConfig) -> None:
        super().__init__()
        self.actions, self.depth, self.binary = actions, config.depth, planes.binary
        self.model, self.policy = None, None
        if config.depth:
            sizes = (planes.shape, config.frames, actions)
            self.policy = RolloutPolicy(*sizes, config.channels, config.width)
            self.model = _model(planes, actions, config)

    @property
    def learned(self) -> EnvironmentModel | None:
        """The model, where it is one that learns."""
        return self.model if isinstance(self.model, EnvironmentModel) else None

    def forward(self, frames: torch.Tensor, noise: torch.Tensor | None) -> Rollouts | None:
        """(B, K, C, H, W) and Gumbel (B, A, depth, A) -> one rollout for each action, if any."""
        if self.policy is None or noise is None:
            return None
        return imagine(self.model, self.policy, frames, noise, self.binary)


def _model(
    planes: Planes, actions: int, config: I2AConfig
) -> EnvironmentModel | SokobanRules | None:
    if config.model == "learned":
        return EnvironmentModel(planes.shape, config.frames, actions, config.model_channels)
    return SokobanRules(planes, actions) if config.model == "true" else None


class I2A(OnPolicyAgent):
    """Imagines what would come of each action, and learns what to make of it (I2A)."""

    config_type = I2AConfig
    accepts = ("discrete", "images")
    config: I2AConfig

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        config: I2AConfig,
        device: torch.device,
    ) -> None:
        if not isinstance(action_space, spaces.Discrete):
            raise UnsupportedSpace("action_space", "Discrete", action_space)
        self.before = config.frames - 1
        super().__init__(observation_space, action_space, config, device)

    def _build(self, seen: spaces.Dict) -> None:
        config, actions = self.config, self.head.codec.width
        self.planes = Planes(seen).to(self.device)
        self.net = ImaginingNet(self.planes, actions, config).to(self.device)
        self.imagination = Imagination(self.planes, actions, config).to(self.device)
        self.optimizers = {"net": self._adam(self.net)}
        if self.imagination.policy is not None:
            self.optimizers["rollout"] = self._adam(self.imagination.policy)
        self._kept_parts: dict[str, Any] = {"net": self.net, "imagination": self.imagination}
        model = self.imagination.learned
        if model is not None:
            shape, rows = self.planes.shape, config.model_rows
            self.experience = Experience(rows, shape, config.frames).to(self.device)
            rate = config.model_learning_rate
            self._model_optimizer = FusedAdam(model.parameters(), rate)
            self._kept_parts |= {"experience": self.experience, "model": self._model_optimizer}
        self._kept_parts |= {f"optimizer.{name}": o for name, o in self.optimizers.items()}
        self._rows_seen = self._fitted = 0
        self._begin_phase()

    def acting(self) -> Acting:
        """The whole net: it imagines at each step."""
        policy = ImaginingPolicy(self.planes, self.net, self.imagination, self.head, self.config)
        return Acting(policy.signature, {"policy": policy})

    def opinion(self, batch: Tensors) -> Opinion:
        """Rows (B, T + 1), after those that only lend their frames."""
        frames = self._frames(batch)[:, self.before :]
        shape = frames.shape[:2]
        noise = self._rows(batch).get(EXTRA_PREFIX + DREAMS)
        flat = frames.flatten(0, 1)
        rollouts = self.imagination(flat, None if noise is None else noise.flatten(0, 1))
        raw, value = (x.reshape(*shape, *x.shape[1:]) for x in self.net(flat, rollouts))
        losses = {}
        if self.imagination.policy is not None:
            losses["distillation"] = distillation(raw.flatten(0, 1), self.imagination.policy(flat))
        return Opinion(raw, value, losses)

    def train(self, batch: Tensors) -> Learned:
        """One update of the agent unless it only collects, and as many of the model as are due."""
        metrics: Tensors = {}
        model = self.imagination.learned
        if model is not None:
            metrics |= self._learn_model(model, batch)
        if self._acts_at_random:
            return Learned(metrics)
        return Learned(metrics | super().train(batch).metrics)

    @property
    def _collects(self) -> bool:
        """Whether the model is not used yet."""
        rows = self.config.model_rows
        return self.imagination.learned is not None and self._rows_seen < rows

    @property
    def _acts_at_random(self) -> bool:
        return self._collects and self.config.collect == "random"

    def _begin_phase(self) -> None:
        self.net.trusted.fill_(float(not self._collects))
        self.net.awake.fill_(float(not self._acts_at_random))

    def _learn_model(self, model: EnvironmentModel, batch: Tensors) -> Tensors:
        """Keep new rows, and fit the model to those that are kept."""
        due = self.config.fits if self._collects else self.config.refits
        self._remember(batch)
        self._begin_phase()
        metrics = {"model/used": self.net.trusted.clone()}
        for _ in range(min(due, self.config.most_fits - self._fitted)):
            rows = self.experience.draw(self.config.model_batch, self._generator)
            losses = model_losses(model, *rows, self.config.reward_scale)
            self._model_optimizer.zero_grad(set_to_none=True)
            losses["loss/model"].backward()  # type: ignore[no-untyped-call]
            self._model_optimizer.step()
            self._fitted += 1
            metrics |= {name: loss.detach() for name, loss in losses.items()}
        return metrics

    def _remember(self, batch: Tensors) -> None:
        frames = self._frames(batch)[:, self.before :]
        rows = self._rows(batch)
        acted = ~rows[IS_LAST][:, :-1]
        following = frames[:, 1:, -1:]
        seen = torch.cat([frames[:, :-1], following], 2)
        self.experience.write(seen[acted], rows[ACTION][:, :-1][acted], rows[REWARD][:, 1:][acted])
        self._rows_seen += acted.numel()

    def _frames(self, batch: Tensors) -> torch.Tensor:
        """(B, before + T + 1, K, C, H, W)."""
        flat = self.planes({self.planes.key: batch[self.planes.key].flatten(0, 1)})
        planes = flat.reshape(*batch[IS_FIRST].shape, *self.planes.shape)
        return frames_of(planes, batch[IS_FIRST], self.config.frames)

    def _kept(self) -> Mapping[str, Any]:
        return self._kept_parts

    def state_dict(self) -> dict[str, Any]:
        """Networks, the model's rows, optimisers, counters and random state."""
        counters = torch.tensor([self._rows_seen, self._fitted])
        return super().state_dict() | {"counters": counters}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self._rows_seen, self._fitted = (int(n) for n in state["counters"])


def distillation(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """() cross-entropy of the student's logits (B, A) under the teacher's probabilities; only the
    student learns."""
    return F.cross_entropy(student, torch.softmax(teacher.detach(), -1))


def model_losses(
    model: EnvironmentModel,
    frames: torch.Tensor,
    action: torch.Tensor,
    reward: torch.Tensor,
    reward_scale: float,
) -> Tensors:
    """How wrong a model is about rows: frames (B, K + 1, C, H, W), the last of them to be
    predicted; and the share of the frames that it has right in every cell."""
    truth, actions = frames[:, -1], model.actions
    outcome = model(frames[:, :-1], F.one_hot(action, actions).to(frames.dtype))
    cells = F.binary_cross_entropy_with_logits(outcome.logits, truth, reduction="none")
    error = (outcome.reward - reward).square().mean()
    right = ((outcome.logits > 0) == (truth > 0.5)).flatten(1).all(1).float().mean()
    total = cells.sum((1, 2, 3)).mean() + reward_scale * error
    return {"loss/model": total, "loss/model_reward": error, "model/exact": right}


class ImaginingPolicy(Actor):
    """One control step: remember frames, imagine, act; write down the noise of what it dreamt."""

    def __init__(
        self,
        planes: Planes,
        net: ImaginingNet,
        imagination: Imagination,
        head: ActionHead,
        config: I2AConfig,
    ) -> None:
        super().__init__()
        self.planes, self.net, self.imagination, self.head = planes, net, imagination, head
        self.frames, actions = config.frames, imagination.actions
        shape = (actions, config.depth, actions)
        dreams = {DREAMS: NoiseSpec(shape, "gumbel", acts=False)} if config.depth else {}
        past = TensorSpec("float32", (config.frames, *planes.shape))
        self.signature = Signature(
            carry={"frames": past},
            noise={"action": head.noise, **dreams},
            extras={BEHAVIOUR: head.spec, **{k: TensorSpec("float32", shape) for k in dreams}},
        )

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        now = self.planes(part(inputs, "in_"))
        frames = begun(inputs["in_carry_frames"], now, inputs["in_is_first"])
        noise = inputs.get("in_noise_dreams")
        raw, _ = self.net(frames, self.imagination(frames, noise))
        action = self.head.draw(raw, inputs["in_noise_action"])
        written = {} if noise is None else {"out_extra_dreams": noise + 0}  # a tensor of its own
        carry = {"out_carry_frames": frames}
        said = told(self.head(raw))
        return {"out_action": action, "out_extra_behaviour": raw, **carry, **written, **said}
