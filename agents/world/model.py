"""The world model of every generation: what it is made of, and what it is taught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from gymnasium import spaces
from torch import nn

from agents.agent import Tensors
from agents.blocks.actions import ActionCodec
from agents.world.coding import Coding
from agents.world.decoder import Decoder
from agents.world.encoder import Encoder
from agents.world.ensemble import Ensemble
from agents.world.heads import BernoulliHead, ScalarHead, ScalarKind
from agents.world.kl import DivergenceLoss, DynRepKL
from agents.world.rssm import RSSM, Carry, Core, States, features
from agents.world.sizes import Size
from robot_client.schema import ACTION, IS_FIRST, IS_TERMINAL, REWARD, ActionSpace

CONTEXT = ("deter", "stoch")


@dataclass(frozen=True)
class ModelSpec:
    """What a world model is made of. The defaults are DreamerV3's.

    Args:
        size: widths.
        coding: how observations enter and leave.
        core: the recurrent model.
        divergence: makes the strategy that teaches prior and posterior.
        reward: kind of the reward head.
        reward_layers, continue_layers: hidden layers of these heads; no continue head if 0.
        reward_outscale, continue_outscale: of the start of their last layers.
        reward_scale, continue_scale: weights of their losses.
        discount: of the value of what comes later, per step.
        folds_discount: whether the continue head learns the discount too.
        replay_context: whether windows go on from states stored with their rows.
        members: of the ensemble whose disagreement tells what is new; none if 0.
        exploit, explore: with an ensemble, weights of the reward and of the disagreement in what
            an imagined step is worth.
    """

    size: Size
    coding: Coding
    core: Core = field(default_factory=Core)
    divergence: Callable[[], DivergenceLoss] = DynRepKL
    reward: ScalarKind = "twohot"
    reward_layers: int = 1
    continue_layers: int = 1
    reward_outscale: float = 0.0
    continue_outscale: float = 1.0
    reward_scale: float = 1.0
    continue_scale: float = 1.0
    discount: float = 1 - 1 / 333
    folds_discount: bool = True
    replay_context: bool = True
    members: int = 0
    exploit: float = 1.0
    explore: float = 0.0


class WorldModel(nn.Module):
    """Encoder, recurrent model, decoder and heads.

    Args:
        observation_space: what is seen.
        action_space: of the robot.
        spec: what it is made of.
    """

    def __init__(
        self, observation_space: spaces.Dict, action_space: ActionSpace, spec: ModelSpec
    ) -> None:
        super().__init__()
        self.spec, self.size = spec, spec.size
        size, style = spec.size, spec.core.style
        self.codec = ActionCodec(action_space)
        self.encoder = Encoder(observation_space, size, spec.coding)
        self.rssm = RSSM(self.encoder.width, self.codec.width, size, spec.core)
        self.decoder = Decoder(observation_space, size, spec.coding, self.encoder.standards)
        read = size.features, size.units
        self.reward = ScalarHead(
            spec.reward, *read, spec.reward_layers, style, spec.reward_outscale
        )
        self.goes_on = (
            BernoulliHead(*read, spec.continue_layers, style, spec.continue_outscale)
            if spec.continue_layers
            else None
        )
        self.divergence = spec.divergence()
        width = size.features, self.codec.width, size.units, size.flat
        self.ensemble = Ensemble(*width, spec.members) if spec.members else None

    def filter(self, batch: Tensors, noise: torch.Tensor) -> States:
        """Posterior states (B, T, ...) of a batch's rows; noise (B, T, ...) as the latent's."""
        before = self.codec.encode(batch["prev_action"]).unsqueeze(1)
        actions = torch.cat([before, self.codec.encode(batch[ACTION])[:, :-1]], 1)
        is_first = batch[IS_FIRST]
        if self.spec.replay_context:
            carry = self.carry(batch["context/deter"], batch["context/stoch"])
        else:
            carry = self.rssm.initial(len(actions))
            begun = torch.ones_like(is_first[:, :1])
            is_first = torch.cat([begun, is_first[:, 1:]], 1)
        _, states = self.rssm.observe(self.encoder(batch), actions, is_first, carry, noise)
        return states

    def carry(self, deter: torch.Tensor, stoch: torch.Tensor) -> Carry:
        """The recurrent state from its stored form."""
        found = self.rssm.latent.unpack(stoch)
        return Carry(deter.to(found.dtype), found)

    def losses(self, batch: Tensors, states: States) -> tuple[Tensors, torch.Tensor]:
        """Weighted losses by name, of any shape to be averaged, and the divergence (B, T)."""
        spec, feat = self.spec, features(states.deter, states.stoch)
        latent = self.rssm.latent
        taught = self.divergence(
            latent.dist(states.raw), latent.dist(self.rssm.prior(states.deter))
        )
        seen = self.decoder.loss(self.decoder(states.deter, states.stoch), batch)
        # Prefixed: an observation may be called "value".
        losses = {f"observation/{key}": loss for key, loss in seen.items()} | taught.losses
        losses["reward"] = spec.reward_scale * self.reward(feat).loss(batch[REWARD])
        if self.goes_on is not None:
            target = (~batch[IS_TERMINAL]).float()
            target = target * spec.discount if spec.folds_discount else target
            losses["continue"] = spec.continue_scale * self.goes_on(feat).loss(target)
        if self.ensemble is not None:
            losses["ensemble"] = self._ensemble_loss(batch, states, feat)
        self.divergence.update(taught.value)
        return losses, taught.value

    def survival(self, feat: torch.Tensor) -> torch.Tensor:
        """(...) what the value of what comes after features (..., F) is multiplied by."""
        spec = self.spec
        if self.goes_on is None:
            return feat.new_full(feat.shape[:-1], spec.discount)
        prob: torch.Tensor = self.goes_on(feat).prob()
        return prob if spec.folds_discount else spec.discount * prob

    def open_loop(self, batch: Tensors, noise: torch.Tensor, seen: int) -> Tensors:
        """What the decoder predicts for every row, when only the first `seen` are seen."""
        before = {"prev_action", *(f"context/{name}" for name in CONTEXT)}  # the only ones (B, ...)
        few = {k: t if k in before else t[:, :seen] for k, t in batch.items()}
        states = self.filter(few, noise[:, :seen])
        carry = Carry(states.deter[:, -1], states.stoch[:, -1])
        deters, stochs = [*states.deter.unbind(1)], [*states.stoch.unbind(1)]
        actions = self.codec.encode(batch[ACTION])
        for step in range(seen, actions.shape[1]):
            carry = self.rssm.imagine_step(carry, actions[:, step - 1], noise[:, step])
            deters.append(carry.deter)
            stochs.append(carry.stoch)
        pred: Tensors = self.decoder(torch.stack(deters, 1), torch.stack(stochs, 1))
        return pred

    def _ensemble_loss(self, batch: Tensors, states: States, feat: torch.Tensor) -> torch.Tensor:
        """(B, T - 1); a row that begins an episode does not follow from the one before it."""
        assert self.ensemble is not None
        action = self.codec.encode(batch[ACTION])[:, :-1]
        loss = self.ensemble.loss(feat[:, :-1], action, states.stoch[:, 1:].flatten(2))
        return loss * (~batch[IS_FIRST][:, 1:]).float()
