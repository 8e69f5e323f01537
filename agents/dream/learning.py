"""What M is judged by."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from agents.agent import Tensors
from agents.blocks.actions import ActionCodec
from agents.blocks.dists import Bernoulli
from agents.dream.mdn_rnn import MDNRNN
from robot_client.schema import ACTION, IS_FIRST, IS_LAST, IS_TERMINAL, REWARD


@dataclass(frozen=True)
class Warmth:
    """Which rows count, and how much.

    Args:
        burn_in: rows that do not, where a window begins within an episode: M knows nothing there.
        done_weight: of rows that end an episode, which are few.
    """

    burn_in: int
    done_weight: float


def memory_loss(
    model: MDNRNN, codec: ActionCodec, batch: Tensors, senses: torch.Tensor, warmth: Warmth
) -> Tensors:
    """What M says after each row of (B, T), against the row after it: means over rows.

    `senses` (B, T, S) are the batch's. That of the mixtures is a mean over numbers as well; that of
    the reward is half the squared error in deviations of the rewards, which `model.told` learns on
    the way; that of the end is a cross-entropy.
    """
    first, done = batch[IS_FIRST], batch[IS_TERMINAL].float()
    outputs = model.lstm.unroll(torch.cat([senses, codec.encode(batch[ACTION])], -1), first)
    rewards = batch[REWARD][:, 1:]
    model.told.update(rewards.reshape(-1, 1))
    foretold = model.foretell(outputs[:, :-1])
    counts = counted(first, batch[IS_LAST], warmth.burn_in).to(senses.dtype)
    rows = counts.sum().clamp(min=1)
    weight = 1 + (warmth.done_weight - 1) * done[:, 1:]
    losses = {
        "senses": foretold.senses.loss(senses[:, 1:]).mean(-1),
        "reward": 0.5 * ((foretold.reward - rewards) / model.told.deviation()).square(),
        "done": weight * Bernoulli(foretold.done).loss(done[:, 1:]),
    }
    means = {name: (counts * loss).sum() / rows for name, loss in losses.items()}
    return means | {"total": torch.stack([*means.values()]).sum()}


def counted(first: torch.Tensor, last: torch.Tensor, burn_in: int) -> torch.Tensor:
    """(B, T - 1) which rows have a successor that M could foretell; flags are (B, T)."""
    begun = first.cumsum(1) > 0
    late = torch.arange(first.shape[1], device=first.device) >= burn_in
    return ((begun | late)[:, :-1]) & ~last[:, :-1] & ~first[:, 1:]
