"""Recurrent state-space model: filtering what was sensed, imagining what was not.

A row's action is the one taken after seeing its observation. The model therefore takes, with each
observation, the action executed *before* it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.nets import MLP, MODERN, Dense, Style
from agents.world.cells import CELLS, CellName
from agents.world.latents import LATENTS, LatentName
from agents.world.sizes import Size

StartName = Literal["zeros", "learned"]


class Carry(NamedTuple):
    """State between two steps: deter (N, D), stoch (N, S, K) or, if Gaussian, (N, S)."""

    deter: torch.Tensor
    stoch: torch.Tensor


class States(NamedTuple):
    """Filtered states: deter (..., D), stoch (..., S, K) or (..., S), and the posterior's raw
    outputs (..., S, K) or (..., 2, S)."""

    deter: torch.Tensor
    stoch: torch.Tensor
    raw: torch.Tensor


def features(deter: torch.Tensor, stoch: torch.Tensor) -> torch.Tensor:
    """(..., D), (..., S, K) or (..., S) -> (..., F), what every head reads."""
    return torch.cat([deter, flatten(deter, stoch)], -1)


def flatten(deter: torch.Tensor, stoch: torch.Tensor) -> torch.Tensor:
    """A state's stoch as (..., S * K) or (..., S); deter (..., D) tells how many axes lead."""
    return stoch.flatten(deter.ndim - 1)


@dataclass(frozen=True)
class Core:
    """What kind of recurrent model it is. The defaults are DreamerV3's.

    Args:
        cell: recurrent cell.
        latent: kind of stochastic state.
        start: state before anything was seen: zeros, or learned (DayDreamer).
        style: of the layers.
        prior_layers: hidden layers from deter to the prior.
        unimix: share of uniform in every categorical state.
        posterior_outscale: of the start of what is believed after seeing; larger: more decided.
    """

    cell: CellName = "block-gru"
    latent: LatentName = "categorical"
    start: StartName = "zeros"
    style: Style = MODERN
    prior_layers: int = 2
    unimix: float = 0.01
    posterior_outscale: float = 1.0


class RSSM(nn.Module):
    """Recurrent core, prior and posterior.

    Args:
        token_width: E.
        action_width: A, of actions as `ActionCodec.encode` gives them.
        size: widths.
        core: which cell, which kind of state.
    """

    def __init__(
        self, token_width: int, action_width: int, size: Size, core: Core | None = None
    ) -> None:
        super().__init__()
        core = core or Core()
        style = core.style
        self.size = size
        self.latent = LATENTS[core.latent](size, core.unimix)
        raw = self.latent.raw_shape[0] * self.latent.raw_shape[1]
        deter, hidden = size.deter, size.hidden
        self.cell = CELLS[core.cell](action_width, size, style)
        self.posterior_in = Dense(deter + token_width, hidden, norm=True, act=True, style=style)
        self.posterior_out = Dense(
            hidden, raw, norm=False, act=False, outscale=core.posterior_outscale, style=style
        )
        self.prior_in = MLP(deter, hidden, core.prior_layers, style=style)
        self.prior_out = Dense(hidden, raw, norm=False, act=False, style=style)
        self.start = nn.Parameter(torch.zeros(deter)) if core.start == "learned" else None

    def initial(self, n: int) -> Carry:
        """The state before anything was seen: zeros, or what was learned."""
        if self.start is None:
            zeros = self.posterior_out.weight.new_zeros
            return Carry(zeros(n, self.size.deter), zeros(n, *self.latent.shape))
        deter = torch.tanh(self.start).expand(n, -1)
        return Carry(deter, self.latent.dist(self.prior(deter)).mode())

    def observe(
        self,
        tokens: torch.Tensor,
        prev_actions: torch.Tensor,
        is_first: torch.Tensor,
        carry: Carry,
        noise: torch.Tensor,
    ) -> tuple[Carry, States]:
        """Filter a window of rows.

        Args:
            tokens: (B, T, E) of each row's observation.
            prev_actions: (B, T, A) the action executed before each row, NOT the row's own.
            is_first: (B, T) bool; where set, the state is the initial one, the action zeros.
            carry: state after the row before the window.
            noise: (B, T, ...) in the form of the stochastic state, of the latent's kind.

        Returns:
            The state after the last row, and the states (B, T, ...) of all rows.
        """
        keep = (~is_first.bool()).to(tokens.dtype).unsqueeze(-1)
        kernels = self.cell.kernels()
        drives = self.cell.drives(bounded(prev_actions * keep).transpose(0, 1), kernels)
        weight = self.posterior_in.weight
        from_deter, from_tokens = weight[:, : self.size.deter], weight[:, self.size.deter :]
        evidence = F.linear(tokens, from_tokens, self.posterior_in.bias)
        fresh = None if self.start is None else self._flat(self.initial(1))
        deter, stoch = self._flat(carry)
        rows = []
        for drive, seen, kept, eps in zip(
            drives, evidence.unbind(1), keep.unbind(1), noise.unbind(1), strict=True
        ):
            deter, stoch = _restart(deter, stoch, kept, fresh)
            deter = self.cell(deter, stoch, drive, kernels)
            hidden = self.posterior_in.tail(seen + F.linear(deter, from_deter))
            raw = self._shaped(self.posterior_out(hidden))
            drawn = self.sample(raw, eps)
            rows.append((deter, drawn, raw))
            stoch = flatten(deter, drawn)
        deters, stochs, raws = (torch.stack(column, 1) for column in zip(*rows, strict=True))
        return Carry(deter, rows[-1][1]), States(deters, stochs, raws)

    def step(
        self,
        token: torch.Tensor,
        prev_action: torch.Tensor,
        is_first: torch.Tensor,
        carry: Carry,
        noise: torch.Tensor,
    ) -> tuple[Carry, States]:
        """`observe` for one row: (N, E), (N, A), (N,), carry, (N, ...) -> carry and state."""
        token, prev_action, is_first, noise = (
            x.unsqueeze(1) for x in (token, prev_action, is_first, noise)
        )
        carry, states = self.observe(token, prev_action, is_first, carry, noise)
        return carry, States(*(x.squeeze(1) for x in states))

    def imagine_step(self, carry: Carry, action: torch.Tensor, noise: torch.Tensor) -> Carry:
        """The state that follows, by belief alone: carry, action (N, A), noise (N, ...)."""
        kernels = self.cell.kernels()
        (drive,) = self.cell.drives(bounded(action).unsqueeze(0), kernels)
        deter = self.cell(*self._flat(carry), drive, kernels)
        return Carry(deter, self.sample(self.prior(deter), noise))

    def prior(self, deter: torch.Tensor) -> torch.Tensor:
        """(..., D) -> raw outputs for what is expected before seeing."""
        return self._shaped(self.prior_out(self.prior_in(deter)))

    def sample(self, raw: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """A stochastic state from raw outputs; its gradient reaches them."""
        return self.latent.dist(raw).sample(noise)

    def _shaped(self, flat: torch.Tensor) -> torch.Tensor:
        return flat.reshape(*flat.shape[:-1], *self.latent.raw_shape)

    def _flat(self, carry: Carry) -> tuple[torch.Tensor, torch.Tensor]:
        return carry.deter, flatten(*carry)


def bounded(action: torch.Tensor) -> torch.Tensor:
    """Actions (..., A) with numbers beyond 1 as 1: a sampled one is not clipped, the robot's is."""
    return action / action.abs().clamp(min=1).detach()


def _restart(
    deter: torch.Tensor,
    stoch: torch.Tensor,
    kept: torch.Tensor,
    fresh: tuple[torch.Tensor, torch.Tensor] | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The state where `kept` (N, 1) is 1, and the initial one where it is 0."""
    if fresh is None:
        return deter * kept, stoch * kept
    return deter * kept + fresh[0] * (1 - kept), stoch * kept + fresh[1] * (1 - kept)
