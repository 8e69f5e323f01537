"""C: a controller so small that its parameters are one vector to be evolved (World Models, A.4)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch

from agents.dream.mdn_rnn import Memory

# What it sees: latent picture z alone; with the memory's output h; with its cell c, as in Doom.
Sees = Literal["z", "zh", "zhc"]


class Controller:
    """a = W [x, 1], or with `hidden` tanh units between. It holds no parameters.

    Args:
        senses: S, width of z and whatever else is sensed.
        units: H, of the memory.
        actions: A, numbers that come out.
        sees: see `Sees`.
        hidden: units between; 0: linear.
    """

    def __init__(self, senses: int, units: int, actions: int, sees: Sees, hidden: int) -> None:
        self.sees = sees
        width = senses + units * (len(sees) - 1)
        widths = [width, hidden, actions] if hidden else [width, actions]
        # Out and in of each layer; the last of its inputs is 1.
        self.layers = [(out, into + 1) for into, out in pairwise(widths)]
        self.parameters = sum(math.prod(layer) for layer in self.layers)

    def __call__(
        self, parameters: torch.Tensor, senses: torch.Tensor, memory: Memory
    ) -> torch.Tensor:
        """(N, A), by parameters (N, parameters) of which every row acts by its own."""
        parts = {"z": senses, "h": memory.h, "c": memory.c}
        x = torch.cat([parts[name] for name in self.sees], -1)
        start = 0
        for out, into in self.layers:
            if start:
                x = x.tanh()
            weight = parameters[:, start : start + out * into].reshape(-1, out, into)
            x = (weight[..., :-1] @ x[..., None])[..., 0] + weight[..., -1]
            start += out * into
        return x
