"""M: an LSTM that says what comes next as a mixture of normals (World Models, appendix A.2).

Without actions it generates sequences by itself: pen strokes, for instance, as Sketch-RNN (Ha and
Eck 2017), of which it is the decoder.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.dists import gumbel
from agents.blocks.normalize import Units
from agents.dream.mixture import Mixture, mixture

_FORGET = 1.0  # bias of the forget gates at first, as in the public code


class Memory(NamedTuple):
    """The LSTM's state: output h and cell c, (N, H) each."""

    h: torch.Tensor
    c: torch.Tensor


class Foretold(NamedTuple):
    """What comes next: the senses as a `Mixture`, reward (...) and logit (...) of the end."""

    senses: Mixture
    reward: torch.Tensor
    done: torch.Tensor


class LSTM(nn.Module):
    """One layer, with one bias (torch's has two): gates are weight [x, 1] + recurrent h."""

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.units = units
        limit = units**-0.5
        self.weight = nn.Parameter(torch.empty(4 * units, width).uniform_(-limit, limit))
        self.recurrent = nn.Parameter(torch.empty(4 * units, units).uniform_(-limit, limit))
        bias = torch.zeros(4 * units)
        bias[units : 2 * units] = _FORGET
        self.bias = nn.Parameter(bias)

    def blank(self, rows: int) -> Memory:
        """The state before anything has been seen."""
        return Memory(*self.weight.new_zeros(2, rows, self.units).unbind())

    def forward(self, x: torch.Tensor, memory: Memory) -> Memory:
        """One step from (N, width)."""
        return self.gated(F.linear(x, self.weight, self.bias), memory)

    def gated(self, inputs: torch.Tensor, memory: Memory) -> Memory:
        """One step from what the input gives the gates (N, 4 H): input, forget, cell, output."""
        gates = inputs + F.linear(memory.h, self.recurrent)
        enter, keep, cell, leave = gates.chunk(4, -1)
        c = keep.sigmoid() * memory.c + enter.sigmoid() * cell.tanh()
        return Memory(leave.sigmoid() * c.tanh(), c)

    def unroll(self, x: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """(B, T, H) outputs from inputs (B, T, width); blank before each row that is `first`."""
        inputs, memory = F.linear(x, self.weight, self.bias), self.blank(len(x))
        going_on = (~first).to(x.dtype)[..., None]
        outputs = []
        for t in range(x.shape[1]):
            memory = Memory(*(part * going_on[:, t] for part in memory))
            memory = self.gated(inputs[:, t], memory)
            outputs.append(memory.h)
        return torch.stack(outputs, 1)


class MDNRNN(nn.Module):
    """What comes next, after S numbers that are sensed and A that are done.

    Args:
        senses: S.
        actions: A; 0 to generate sequences.
        units: of the LSTM.
        components: of each mixture.
    """

    def __init__(self, senses: int, actions: int, units: int = 256, components: int = 5) -> None:
        super().__init__()
        self.senses, self.actions, self.components = senses, actions, components
        self.lstm = LSTM(senses + actions, units)
        self.head = nn.Linear(units, 3 * senses * components)
        self.reward = nn.Linear(units, 1)
        self.done = nn.Linear(units, 1)
        self.told = Units(1)  # of rewards, which a robot may count in hundreds or in thousandths

    def foretell(self, h: torch.Tensor) -> Foretold:
        """What (..., H) says of the next step."""
        reward, done = self.told.restore(self.reward(h))[..., 0], self.done(h)[..., 0]
        return Foretold(mixture(self.head(h), self.components), reward, done)

    def step(self, senses: torch.Tensor, action: torch.Tensor, memory: Memory) -> Memory:
        """Take in (N, S) and what was then done (N, A)."""
        found: Memory = self.lstm(torch.cat([senses, action], -1), memory)
        return found

    def sample(
        self, foretold: Foretold, temperature: float, generator: torch.Generator
    ) -> torch.Tensor:
        """(..., S) one of the next."""
        shape = foretold.senses.mean.shape
        choices = gumbel(tuple(shape), generator, foretold.senses.mean.dtype)
        normal = torch.randn(shape[:-1], generator=generator, device=generator.device)
        return foretold.senses.sample(choices, normal, temperature)

    @torch.no_grad()
    def generate(
        self, start: torch.Tensor, length: int, temperature: float, generator: torch.Generator
    ) -> torch.Tensor:
        """(N, length, S) what follows (N, T, S), T > 0; for a model without actions."""
        assert self.actions == 0, self.actions
        memory = self.lstm.blank(len(start))
        for t in range(start.shape[1]):
            memory = self.lstm(start[:, t], memory)
        found = []
        for _ in range(length):
            senses = self.sample(self.foretell(memory.h), temperature, generator)
            found.append(senses)
            memory = self.lstm(senses, memory)
        return torch.stack(found, 1)
