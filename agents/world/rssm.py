"""The recurrent state-space model: what the robot remembers, believes and imagines.

Only the recurrence runs step by step. Whatever depends on tokens or actions alone is computed for
all steps at once before the loop, and the prior is left to the caller, for all steps at once after
it. All randomness comes in as noise.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks import dists
from agents.blocks.dists import one_hot_latent
from agents.blocks.nets import MLP, BlockDense, Dense
from agents.blocks.scalars import widen
from agents.world.sizes import Size


class Carry(NamedTuple):
    """State between two steps: deter (N, D), stoch (N, S, K)."""

    deter: torch.Tensor
    stoch: torch.Tensor


class States(NamedTuple):
    """Filtered states: deter (..., D), stoch (..., S, K), posterior logits (..., S, K)."""

    deter: torch.Tensor
    stoch: torch.Tensor
    logits: torch.Tensor


def features(deter: torch.Tensor, stoch: torch.Tensor) -> torch.Tensor:
    """(..., D), (..., S, K) -> (..., F), what every head reads."""
    return torch.cat([deter, stoch.flatten(-2)], -1)


def kl_losses(
    posterior: torch.Tensor, prior: torch.Tensor, floor: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (..., S, K) twice -> (dyn, rep), each (...): the divergence of the posterior from the
    prior, at least `floor` nats; dyn teaches the prior only, rep the posterior only."""
    return dists.kl_losses(one_hot_latent(posterior), one_hot_latent(prior), floor)


class RSSM(nn.Module):
    """Block-recurrent core with a categorical state.

    Args:
        token_width: E.
        action_width: A, of actions as `ActionCodec.encode` gives them.
        size: widths.
    """

    def __init__(self, token_width: int, action_width: int, size: Size) -> None:
        super().__init__()
        self.size = size
        deter, hidden, flat = size.deter, size.hidden, size.stoch * size.classes
        self.deter_in = Dense(deter, hidden, norm=True, act=True)
        self.stoch_in = Dense(flat, hidden, norm=True, act=True)
        self.action_in = Dense(action_width, hidden, norm=True, act=True)
        # Every block reads its own slice of deter and all of the three inputs.
        wide = deter + size.blocks * 3 * hidden
        self.mix = BlockDense(wide, deter, size.blocks, norm=True, act=True)
        self.gates = BlockDense(deter, 3 * deter, size.blocks)
        self.posterior_in = Dense(deter + token_width, hidden, norm=True, act=True)
        self.posterior_out = Dense(hidden, flat, norm=False, act=False)
        self.prior_in = MLP(deter, hidden, 2)
        self.prior_out = Dense(hidden, flat, norm=False, act=False)

    def initial(self, n: int) -> Carry:
        """The state before anything was seen: zeros."""
        zeros = self.mix.bias.new_zeros
        return Carry(
            zeros(n, self.size.deter),
            zeros(n, self.size.stoch, self.size.classes),
        )

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
            is_first: (B, T) bool; where set, state and previous action count as zeros.
            carry: state after the row before the window.
            noise: (B, T, S, K) standard Gumbel noise.

        Returns:
            The state after the last row, and the states (B, T, ...) of all rows.
        """
        keep = (~is_first.bool()).to(tokens.dtype).unsqueeze(-1)
        drives = self._drive((prev_actions * keep).transpose(0, 1))
        weight = self.posterior_in.weight
        from_deter, from_tokens = weight[:, : self.size.deter], weight[:, self.size.deter :]
        evidence = F.linear(tokens, from_tokens, self.posterior_in.bias)
        kernels = self._kernels()
        deter, stoch = carry.deter, carry.stoch.flatten(-2)
        rows = []
        for drive, seen, kept, eps in zip(
            drives, evidence.unbind(1), keep.unbind(1), noise.unbind(1), strict=True
        ):
            deter = self._core(deter * kept, stoch * kept, drive, kernels)
            hidden = self.posterior_in.tail(seen + F.linear(deter, from_deter))
            logits = self._grouped(self.posterior_out(hidden))
            stoch = self.sample(logits, eps)
            rows.append((deter, stoch, logits))
            stoch = stoch.flatten(-2)
        deters, stochs, logits = (torch.stack(column, 1) for column in zip(*rows, strict=True))
        return Carry(deter, rows[-1][1]), States(deters, stochs, logits)

    def step(
        self,
        token: torch.Tensor,
        prev_action: torch.Tensor,
        is_first: torch.Tensor,
        carry: Carry,
        noise: torch.Tensor,
    ) -> tuple[Carry, States]:
        """`observe` for one row: (N, E), (N, A), (N,), carry, (N, S, K) -> carry and state."""
        token, prev_action, is_first, noise = (
            x.unsqueeze(1) for x in (token, prev_action, is_first, noise)
        )
        carry, states = self.observe(token, prev_action, is_first, carry, noise)
        return carry, States(*(x.squeeze(1) for x in states))

    def imagine_step(self, carry: Carry, action: torch.Tensor, noise: torch.Tensor) -> Carry:
        """The state that follows, by belief alone: carry, action (N, A), Gumbel noise (N, S, K)."""
        (drive,) = self._drive(action.unsqueeze(0))
        deter = self._core(carry.deter, carry.stoch.flatten(-2), drive, self._kernels())
        return Carry(deter, self.sample(self.prior(deter), noise))

    def prior(self, deter: torch.Tensor) -> torch.Tensor:
        """(..., D) -> logits (..., S, K) of what is expected before seeing."""
        return self._grouped(self.prior_out(self.prior_in(deter)))

    def sample(self, logits: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """One-hot (..., S, K) with the gradient of the mixed probabilities."""
        return one_hot_latent(logits).sample(noise)

    def _grouped(self, flat: torch.Tensor) -> torch.Tensor:
        return flat.reshape(*flat.shape[:-1], self.size.stoch, self.size.classes)

    def _kernels(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The mixing layer's kernel by what it reads: deter's slice (blocks, D / blocks,
        D / blocks), and what every block reads: deter and stoch, action, each (D, inputs)."""
        own = self.size.deter // self.size.blocks
        shared = self.mix.weight[:, own:].transpose(1, 2).flatten(0, 1)
        state = 2 * self.size.hidden
        return self.mix.weight[:, :own], shared[:, :state], shared[:, state:]

    def _drive(self, actions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Actions (T, N, A) -> their part of the mixing layer, T times (N, D)."""
        scaled = actions / actions.abs().clamp(min=1).detach()
        out = F.linear(self.action_in(scaled), self._kernels()[2], self.mix.bias)
        return out.unbind(0)

    def _core(
        self,
        deter: torch.Tensor,
        stoch: torch.Tensor,
        drive: torch.Tensor,
        kernels: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """One step of the recurrence: (N, D), (N, S * K), a drive -> (N, D)."""
        blocks = deter.reshape(deter.shape[0], self.size.blocks, -1)
        x = torch.cat([self.deter_in(deter), self.stoch_in(stoch)], -1)
        own = torch.bmm(blocks.transpose(0, 1), kernels[0]).transpose(0, 1).flatten(1)
        mixed = torch.addmm(drive, x, kernels[1].T) + own
        gates = widen(self.gates(self.mix.tail(mixed)))
        reset, new, update = gates.reshape(gates.shape[0], self.size.blocks, 3, -1).unbind(2)
        new = torch.tanh(reset.sigmoid() * new)
        return blocks.lerp(new, torch.sigmoid(update - 1)).flatten(1)
