"""Episodes that happen in M alone, many at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from agents.blocks.actions import ActionCodec
from agents.blocks.dists import gumbel
from agents.dream.controller import Controller
from agents.dream.mdn_rnn import MDNRNN

_LOOK = 16  # steps between looks at whether anybody is still alive


@dataclass(frozen=True)
class Dreamt:
    """What dreams came to: returns (N,), steps (N,), and senses (N, T, S) as far as they went."""

    returns: torch.Tensor
    steps: torch.Tensor
    senses: torch.Tensor


@torch.no_grad()
def dream(
    model: MDNRNN,
    controller: Controller,
    codec: ActionCodec,
    vectors: torch.Tensor,
    starts: torch.Tensor,
    steps: int,
    temperature: float,
    generator: torch.Generator,
) -> Dreamt:
    """Each of P controllers (P, n) from each of E starts (E, S): N = P E episodes, in that order.

    An episode is over when M gives its end more than even odds (as in Take Cover's public code);
    the reward of that step still counts. All controllers meet the same starts and the same chance,
    so that they differ by what they do alone.
    """
    (count, _), (episodes, _) = vectors.shape, starts.shape
    vectors, senses = vectors.repeat_interleave(episodes, 0), starts.repeat(count, 1)
    memory = model.lstm.blank(count * episodes)
    returns, lived = senses.new_zeros(2, count * episodes).unbind()
    alive, seen = torch.ones_like(returns), [senses]
    shape = (episodes, model.senses, model.components)
    for t in range(steps):
        if t % _LOOK == 0 and not alive.any():
            break
        raw = controller(vectors, senses, memory)
        memory = model.step(senses, driven(codec, raw), memory)
        foretold = model.foretell(memory.h)
        choices = gumbel(shape, generator).repeat(count, 1, 1)
        normal = torch.randn(shape[:2], generator=generator, device=generator.device)
        senses = foretold.senses.sample(choices, normal.repeat(count, 1), temperature)
        returns, lived = returns + alive * foretold.reward, lived + alive
        alive = alive * (foretold.done <= 0)
        seen.append(senses)
    return Dreamt(returns, lived, torch.stack(seen, 1))


def driven(codec: ActionCodec, raw: torch.Tensor) -> torch.Tensor:
    """A controller's output (N, A) as the model takes actions: -1..1, or one-hot."""
    return codec.encode(codec.decode(raw)) if codec.discrete else raw.tanh()
