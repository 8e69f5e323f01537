"""Recurrent cells: how the deterministic state goes on from the last states and action.

A cell splits its work in two. What depends on actions alone, its `drives`, is computed for all
rows of a window at once; `forward` is the rest, row by row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.nets import BlockDense, Dense, Style
from agents.blocks.scalars import widen
from agents.world.sizes import Size

CellName = Literal["gru", "ln-gru", "block-gru"]
Kernels = tuple[torch.Tensor, ...]


class Cell(nn.Module, ABC):
    """(deter, stoch, action) -> deter.

    Args:
        action_width: A.
        size: widths.
        style: of the layers.
    """

    @abstractmethod
    def kernels(self) -> Kernels:
        """Views of the weights that `drives` and `forward` take, made once per window."""

    @abstractmethod
    def drives(self, actions: torch.Tensor, kernels: Kernels) -> tuple[torch.Tensor, ...]:
        """Actions (T, N, A) -> T drives (N, ...)."""

    @abstractmethod
    def forward(
        self, deter: torch.Tensor, stoch: torch.Tensor, drive: torch.Tensor, kernels: Kernels
    ) -> torch.Tensor:
        """(N, D), flat (N, S * K), a drive -> (N, D)."""


class BlockGRU(Cell):
    """Eight small GRUs side by side, which all read all inputs (DreamerV3)."""

    def __init__(self, action_width: int, size: Size, style: Style) -> None:
        super().__init__()
        deter, hidden = size.deter, size.hidden
        self.blocks, self.hidden = size.blocks, hidden
        self.deter_in = Dense(deter, hidden, norm=True, act=True, style=style)
        self.stoch_in = Dense(size.flat, hidden, norm=True, act=True, style=style)
        self.action_in = Dense(action_width, hidden, norm=True, act=True, style=style)
        # Every block reads its own slice of deter and all of the three inputs.
        wide = deter + size.blocks * 3 * hidden
        self.mix = BlockDense(wide, deter, size.blocks, norm=True, act=True)
        self.gates = BlockDense(deter, 3 * deter, size.blocks)

    def kernels(self) -> Kernels:
        """The mixing layer's kernel by what it reads: deter's slice (blocks, D / blocks,
        D / blocks), and what every block reads: deter and stoch, action, each (D, inputs)."""
        own = self.mix.weight.shape[1] - 3 * self.hidden
        shared = self.mix.weight[:, own:].transpose(1, 2).flatten(0, 1)
        state = 2 * self.hidden
        return self.mix.weight[:, :own], shared[:, :state], shared[:, state:]

    def drives(self, actions: torch.Tensor, kernels: Kernels) -> tuple[torch.Tensor, ...]:
        """See `Cell`."""
        return F.linear(self.action_in(actions), kernels[2], self.mix.bias).unbind(0)

    def forward(
        self, deter: torch.Tensor, stoch: torch.Tensor, drive: torch.Tensor, kernels: Kernels
    ) -> torch.Tensor:
        """See `Cell`."""
        blocks = deter.reshape(deter.shape[0], self.blocks, -1)
        x = torch.cat([self.deter_in(deter), self.stoch_in(stoch)], -1)
        own = torch.bmm(blocks.transpose(0, 1), kernels[0]).transpose(0, 1).flatten(1)
        mixed = torch.addmm(drive, x, kernels[1].T) + own
        gates = widen(self.gates(self.mix.tail(mixed)))
        reset, new, update = gates.reshape(gates.shape[0], self.blocks, 3, -1).unbind(2)
        new = torch.tanh(reset.sigmoid() * new)
        return blocks.lerp(new, torch.sigmoid(update - 1)).flatten(1)


class _Driven(Cell):
    """A cell behind one layer that reads stoch and action."""

    def __init__(self, action_width: int, size: Size, style: Style) -> None:
        super().__init__()
        self.flat = size.flat
        self.inputs = Dense(size.flat + action_width, size.hidden, norm=True, act=True, style=style)

    def kernels(self) -> Kernels:
        """The input layer's kernel for stoch and for actions."""
        weight = self.inputs.weight
        return weight[:, : self.flat], weight[:, self.flat :]

    def drives(self, actions: torch.Tensor, kernels: Kernels) -> tuple[torch.Tensor, ...]:
        """See `Cell`."""
        return F.linear(actions, kernels[1], self.inputs.bias).unbind(0)

    def forward(
        self, deter: torch.Tensor, stoch: torch.Tensor, drive: torch.Tensor, kernels: Kernels
    ) -> torch.Tensor:
        """See `Cell`."""
        return self.recur(deter, self.inputs.tail(drive + F.linear(stoch, kernels[0])))

    def recur(self, deter: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """(N, D) and input (N, hidden) -> (N, D)."""
        raise NotImplementedError


class GRU(_Driven):
    """The gated recurrent unit (PlaNet, Dreamer V1)."""

    def __init__(self, action_width: int, size: Size, style: Style) -> None:
        super().__init__(action_width, size, style)
        self.from_input = Dense(size.hidden, 3 * size.deter, norm=False, act=False, style=style)
        self.from_deter = Dense(size.deter, 3 * size.deter, norm=False, act=False, style=style)

    def recur(self, deter: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """See `_Driven`."""
        reset_x, new_x, update_x = widen(self.from_input(x)).chunk(3, -1)
        reset_h, new_h, update_h = widen(self.from_deter(deter)).chunk(3, -1)
        new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
        return new.lerp(deter, torch.sigmoid(update_x + update_h))


class LayerNormGRU(_Driven):
    """All gates from one normalised layer; starts out inclined to remember (Dreamer V2)."""

    def __init__(self, action_width: int, size: Size, style: Style) -> None:
        super().__init__(action_width, size, style)
        normed = Style("layer", style.act, style.start, lean=True)
        self.gates = Dense(
            size.deter + size.hidden, 3 * size.deter, norm=True, act=False, style=normed
        )

    def recur(self, deter: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """See `_Driven`."""
        gates = widen(self.gates(torch.cat([deter, x], -1)))
        reset, new, update = gates.chunk(3, -1)
        new = torch.tanh(torch.sigmoid(reset) * new)
        return deter.lerp(new, torch.sigmoid(update - 1))


CELLS: dict[CellName, type[Cell]] = {
    "gru": GRU,
    "ln-gru": LayerNormGRU,
    "block-gru": BlockGRU,
}
