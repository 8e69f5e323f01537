"""Dreamer, third generation as published in 2025 (Hafner et al., "Mastering diverse control tasks
through world models"), with every detail of its reference code that the paper leaves out.

A recurrent world model learns to predict what the robot will sense, the reward and whether the
episode goes on. Actor and critic learn from dreams that start at every replayed state; the actor
by REINFORCE, for continuous and discrete actions alike. One loss, one optimiser. Replayed windows
start from the recurrent state that was stored with the row before them, and store theirs back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from gymnasium import spaces
from pydantic import Field, field_validator
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.agent import Acting, Actor, Agent, AgentConfig, Learned, Sequences, Tensors
from agents.blocks.dists import gumbel
from agents.blocks.normalize import ReturnNormaliser, slow_copy, slow_update_
from agents.blocks.optim import LaProp
from agents.blocks.returns import (
    imagination_losses,
    imagination_weights,
    imagined_return,
    replay_return,
    replay_value_loss,
)
from agents.blocks.scalars import symlog
from agents.errors import UnsupportedSpace
from agents.world.coding import DREAMER_V3
from agents.world.decoder import Decoder
from agents.world.encoder import Encoder
from agents.world.heads import continue_head, policy_head, reward_head, value_head
from agents.world.pictures import film, signals
from agents.world.rssm import RSSM, Carry, States, features, kl_losses
from agents.world.sizes import SIZES
from agents.world.spaces import ActionCodec
from robot_client.bundle import NoiseKind, NoiseSpec, Signature, TensorSpec
from robot_client.schema import (
    ACTION,
    IS_FIRST,
    IS_LAST,
    IS_TERMINAL,
    REWARD,
    ActionSpace,
)

SizeName = Literal["tiny", "1M", "12M", "25M", "50M", "100M", "200M", "400M"]
CONTEXT = ("deter", "stoch")
_REPORTED = 4  # windows in the report
_SEEN = 5  # rows that the report's open-loop prediction sees first


class DreamerConfig(AgentConfig):
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
    keys: str = Field(".*", description="Regular expression: the observations it sees.")
    batch_size: int = Field(16, ge=1, description="Windows per update.")
    batch_length: int = Field(64, ge=2, description="Rows per window.")
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
    compiled: bool = Field(False, description="torch.compile the losses: minutes at the start.")

    @field_validator("keys")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern

    @property
    def discount(self) -> float:
        """Per step; folded into the continue head."""
        return 1 - 1 / self.discount_horizon


class Noise(NamedTuple):
    """All randomness of one update: standard Gumbel, and for Box actions standard normal."""

    posterior: torch.Tensor  # (B, T, S, K)
    dream: torch.Tensor  # (H, N, S, K)
    action: torch.Tensor  # (H + 1, N, A)


class Dream(NamedTuple):
    """Imagined rollouts: features (N, H + 1, F), actions (N, H + 1, A) or (N, H + 1) indices."""

    feats: torch.Tensor
    actions: torch.Tensor


class Networks(nn.Module):
    """Everything that is trained, but for the slow critic.

    Args:
        observation_space: what is seen.
        action_space: of the robot.
        config: sizes.
    """

    def __init__(
        self, observation_space: spaces.Dict, action_space: ActionSpace, config: DreamerConfig
    ) -> None:
        super().__init__()
        self.size = size = SIZES[config.size]
        self.codec = ActionCodec(action_space)
        coding = replace(DREAMER_V3, convolution="strided" if config.strided else "pooled")
        self.encoder = Encoder(observation_space, size, coding)
        self.rssm = RSSM(self.encoder.width, self.codec.width, size)
        self.decoder = Decoder(observation_space, size, coding)
        self.reward = reward_head(size.features, size.units)
        self.goes_on = continue_head(size.features, size.units)
        self.policy = policy_head(size.features, size.units, action_space)
        self.value = value_head(size.features, size.units)

    @property
    def action_noise(self) -> NoiseKind:
        """What a sampled action needs."""
        return "gumbel" if self.codec.discrete else "normal"

    def drive(self, action: torch.Tensor) -> torch.Tensor:
        """A sampled action (N, A) or (N,) in the form that the core takes."""
        return self.codec.encode(action) if self.codec.discrete else action

    def carry(self, tensors: Tensors, prefix: str) -> Carry:
        """The recurrent state from its stored form: deter, and the classes of stoch."""
        deter = tensors[f"{prefix}deter"].float()
        stoch = F.one_hot(tensors[f"{prefix}stoch"].long(), self.size.classes)
        return Carry(deter, stoch.to(deter.dtype))


class DreamerActor(Actor):
    """One control step: encode, filter, act. Recurrent state is stored as the replay wants it."""

    def __init__(self, nets: Networks) -> None:
        super().__init__()
        self.encoder, self.rssm, self.policy = nets.encoder, nets.rssm, nets.policy
        self.codec = nets.codec
        size, kind = nets.size, nets.action_noise
        self.signature = Signature(
            carry={
                "deter": TensorSpec("float32", (size.deter,)),
                "stoch": TensorSpec("float32", (size.stoch, size.classes)),
            },
            noise={
                "stoch": NoiseSpec((size.stoch, size.classes), "gumbel", acts=False),
                "action": NoiseSpec((nets.codec.width,), kind, acts=True),
            },
            extras={
                "deter": TensorSpec("float16", (size.deter,)),
                "stoch": TensorSpec("uint8", (size.stoch,)),
            },
        )

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        obs = {k.removeprefix("in_"): t for k, t in inputs.items()}
        carry = Carry(inputs["in_carry_deter"], inputs["in_carry_stoch"])
        before = self.codec.encode(inputs["in_prev_action"])
        carry, _ = self.rssm.step(
            self.encoder(obs), before, inputs["in_is_first"], carry, inputs["in_noise_stoch"]
        )
        action = self.policy(features(*carry)).sample(inputs["in_noise_action"])
        return {
            "out_action": action if self.codec.discrete else self.codec.decode(action),
            "out_carry_deter": carry.deter,
            "out_carry_stoch": carry.stoch,
            "out_extra_deter": carry.deter.half(),
            "out_extra_stoch": carry.stoch.argmax(-1).to(torch.uint8),
        }


class Dreamer(Agent):
    """Learns a world model from replayed windows, and to act from the model's dreams (DreamerV3).

    Observations: float vectors, square images, Discrete. Actions: Box or Discrete.
    `UnsupportedSpace` says what does not fit.
    """

    config_type = DreamerConfig

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        config: AgentConfig,
        device: torch.device,
    ) -> None:
        assert isinstance(config, DreamerConfig), type(config)
        self.config, self.device = config, device
        self.demand = Sequences(config.batch_size, config.batch_length, CONTEXT)
        self._nets = Networks(_chosen(observation_space, config.keys), action_space, config)
        self._nets.to(device)
        self._slow = slow_copy(self._nets.value)
        self._returns = ReturnNormaliser().to(device)
        self._optimizer = LaProp(
            self._nets.parameters(), lr=config.learning_rate, agc=config.agc, warmup=config.warmup
        )
        self._generator = torch.Generator(device).manual_seed(torch.initial_seed() % 2**63)
        self._losses = torch.compile(self.losses) if config.compiled else self.losses

    def acting(self) -> Acting:
        """Encoder, one filter step and the policy."""
        actor = DreamerActor(self._nets)
        return Acting(actor.signature, {"policy": actor})

    def train(self, batch: Tensors) -> Learned:
        """One update of everything, from (B, T) rows."""
        loss, metrics, states = self._losses(batch, self.draw(*batch[REWARD].shape))
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        metrics["grad_norm"] = self._optimizer.step()
        slow_update_(self._slow, self._nets.value)
        context = {"deter": states.deter.half(), "stoch": states.stoch.argmax(-1).to(torch.uint8)}
        return Learned(metrics, context)

    def draw(self, batch: int, length: int) -> Noise:
        """The randomness of an update on (B, T) rows."""
        size, horizon = self._nets.size, self.config.horizon
        rows, latent = batch * length, (size.stoch, size.classes)
        kind = self._nets.action_noise
        return Noise(
            self._sample("gumbel", batch, length, *latent),
            self._sample("gumbel", horizon, rows, *latent),
            self._sample(kind, horizon + 1, rows, self._nets.codec.width),
        )

    def losses(self, batch: Tensors, noise: Noise) -> tuple[torch.Tensor, Tensors, States]:
        """The total loss, metrics, and the states (B, T, ...) that the rows were given."""
        config = self.config
        states = self._filter(batch, noise.posterior)
        feat = features(states.deter, states.stoch)  # (B, T, F)
        losses = self._model_losses(batch, states, feat)
        dream = self._dream(states, noise)
        behaviour, returns, metrics = self._behaviour_losses(dream)
        losses |= behaviour
        losses["replay_value"] = self._replay_value_loss(batch, feat, returns)
        scales = {
            "dyn": config.dyn_scale,
            "rep": config.rep_scale,
            "replay_value": config.replay_value_scale,
        }
        means = {name: loss.mean() for name, loss in losses.items()}
        total = torch.stack([scales.get(k, 1.0) * mean for k, mean in means.items()]).sum()
        metrics |= {f"loss/{name}": mean.detach() for name, mean in means.items()}
        return total, metrics, States(*(x.detach() for x in states))

    def _filter(self, batch: Tensors, noise: torch.Tensor) -> States:
        """Posterior states of a batch's rows."""
        nets = self._nets
        before = nets.codec.encode(batch["prev_action"]).unsqueeze(1)
        actions = torch.cat([before, nets.codec.encode(batch[ACTION])[:, :-1]], 1)
        _, states = nets.rssm.observe(
            nets.encoder(batch), actions, batch[IS_FIRST], nets.carry(batch, "context/"), noise
        )
        return states

    def _model_losses(self, batch: Tensors, states: States, feat: torch.Tensor) -> Tensors:
        """Losses (B, T) of the world model."""
        nets, config = self._nets, self.config
        seen = nets.decoder.loss(nets.decoder(states.deter, states.stoch), batch)
        prior = nets.rssm.prior(states.deter)
        dyn, rep = kl_losses(states.logits, prior, config.free_nats)
        goes_on = (~batch[IS_TERMINAL]).float() * config.discount
        # Prefixed: an observation may be called "value".
        return {f"observation/{key}": loss for key, loss in seen.items()} | {
            "dyn": dyn,
            "rep": rep,
            "reward": nets.reward(feat).loss(batch[REWARD]),
            "continue": nets.goes_on(feat).loss(goes_on),
        }

    @torch.no_grad()
    def _dream(self, states: States, noise: Noise) -> Dream:
        """Imagine from all N = B * T states."""
        nets = self._nets
        carry = Carry(states.deter.flatten(0, 1), states.stoch.flatten(0, 1))
        feats, actions = [features(*carry)], []
        for eps, latent in zip(noise.action, (*noise.dream, None), strict=True):
            actions.append(nets.policy(feats[-1]).sample(eps))
            if latent is not None:
                carry = nets.rssm.imagine_step(carry, nets.drive(actions[-1]), latent)
                feats.append(features(*carry))
        return Dream(torch.stack(feats, 1), torch.stack(actions, 1))

    def _behaviour_losses(self, dream: Dream) -> tuple[Tensors, torch.Tensor, Tensors]:
        """Losses (N, H) of actor and critic, the returns (N, H), and metrics."""
        nets, config = self._nets, self.config
        # Of the last states not all is needed; to leave them out would copy the features.
        value, policy = nets.value(dream.feats), nets.policy(dream.feats)
        log_prob, entropy = policy.log_prob(dream.actions)[:, :-1], policy.entropy()[:, :-1]
        with torch.no_grad():
            reward, goes_on = nets.reward(dream.feats).pred(), nets.goes_on(dream.feats).prob()
            slow, worth = self._slow(dream.feats).pred()[:, :-1], value.pred()
            returns = imagined_return(reward, goes_on, worth, lam=config.return_lambda)
            self._returns.update(returns)
            weights = imagination_weights(goes_on)[:, :-1]
        losses = imagination_losses(
            log_prob,
            entropy,
            value[:, :-1],
            worth[:, :-1],
            slow,
            returns,
            self._returns.scale(),
            weights,
            entropy_scale=config.entropy,
        )
        metrics = {
            "return/imagined": returns.mean(),
            "return/scale": self._returns.scale(),
            "reward/imagined": reward.mean(),
            "continue/imagined": goes_on.mean(),
            "policy/entropy": entropy.detach().mean(),
        }
        return {"policy": losses.policy, "value": losses.value}, returns, metrics

    def _replay_value_loss(
        self, batch: Tensors, feat: torch.Tensor, returns: torch.Tensor
    ) -> torch.Tensor:
        """(B, T-1) critic's loss on real rewards; each row's dream is its bootstrap."""
        boot = returns[:, 0].reshape(batch[REWARD].shape)
        real = replay_return(
            batch[REWARD],
            batch[IS_LAST],
            batch[IS_TERMINAL],
            boot,
            lam=self.config.return_lambda,
            discount=self.config.discount,
        )
        with torch.no_grad():
            slow = self._slow(feat[:, :-1]).pred()
        return replay_value_loss(self._nets.value(feat[:, :-1]), slow, real, batch[IS_LAST][:, :-1])

    @torch.no_grad()
    def report(self, batch: Tensors) -> dict[str, torch.Tensor]:
        """Open-loop prediction: sees 5 rows, then the actions only, until the window ends.

        Images: truth above prediction above error, (T, 3 H, windows * W, C). Vectors: the first
        window's truth and prediction, (T, K, 2).
        """
        few = {name: tensor[:_REPORTED] for name, tensor in batch.items()}
        pred = self._open_loop(few)
        return {
            f"open_loop_{key}": film(few[key], pred[key])
            if key in self._nets.decoder.layout.images
            else signals(symlog(few[key]), pred[key])
            for key in pred
            if key not in self._nets.decoder.layout.classes
        }

    def _open_loop(self, batch: Tensors) -> Tensors:
        nets = self._nets
        rows, length = batch[REWARD].shape
        before = {"prev_action", *(f"context/{name}" for name in CONTEXT)}  # the only ones (B, ...)
        seen = {k: t if k in before else t[:, :_SEEN] for k, t in batch.items()}
        noise = self.draw(rows, length).posterior
        states = self._filter(seen, noise[:, :_SEEN])
        carry = Carry(states.deter[:, -1], states.stoch[:, -1])
        deters, stochs = [*states.deter.unbind(1)], [*states.stoch.unbind(1)]
        actions = nets.codec.encode(batch[ACTION])
        for step in range(_SEEN, length):
            carry = nets.rssm.imagine_step(carry, actions[:, step - 1], noise[:, step])
            deters.append(carry.deter)
            stochs.append(carry.stoch)
        pred: Tensors = nets.decoder(torch.stack(deters, 1), torch.stack(stochs, 1))
        return pred

    def state_dict(self) -> dict[str, Any]:
        """Networks, slow critic, normaliser, optimiser and random state."""
        parts = {f"{n}/{k}": t for n, p in self._parts().items() for k, t in p.state_dict().items()}
        return parts | {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        for name, part in self._parts().items():
            prefix = f"{name}/"
            own = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
            part.load_state_dict(own)
        _restore(self._generator, state["generator"].cpu())

    def _parts(self) -> dict[str, Any]:
        return {
            "nets": self._nets,
            "slow": self._slow,
            "returns": self._returns,
            "optimizer": self._optimizer,
        }

    def _sample(self, kind: str, *shape: int) -> torch.Tensor:
        if kind == "normal":
            return torch.randn(shape, generator=self._generator, device=self.device)
        return gumbel(shape, self._generator)


def _chosen(observation_space: spaces.Dict, pattern: str) -> spaces.Dict:
    """The observations whose whole name matches."""
    chosen = {k: s for k, s in observation_space.spaces.items() if re.fullmatch(pattern, k)}
    if not chosen:
        raise UnsupportedSpace(
            "keys", f"a pattern that matches one of {[*observation_space]}", pattern
        )
    return spaces.Dict(chosen)


def _restore(generator: torch.Generator, state: torch.Tensor) -> None:
    """Go on from a generator's state; from one of another kind of device, go on at random."""
    if state.shape == generator.get_state().shape:
        generator.set_state(state)
        return
    digest = hashlib.sha256(state.numpy().tobytes()).digest()
    generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
