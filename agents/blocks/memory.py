"""An LSTM whose state is explicit: one row of numbers that can be carried, stored and reset."""

from __future__ import annotations

import torch
from torch import nn

from agents.blocks.nets import MODERN, Dense

_REMEMBER = 1.0  # added to the forget gate, so that it starts open


class Memory(nn.Module):
    """Hochreiter and Schmidhuber's cell with a forget gate. A state (B, 2 cells) is output, then
    content; zeros begin.

    Args:
        width: of the input.
        cells: of the output.
    """

    def __init__(self, width: int, cells: int) -> None:
        super().__init__()
        self.cells = cells
        self.gates = Dense(width + cells, 4 * cells, norm=False, act=False, style=MODERN)

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """One step: (B, width) and the state -> the next state."""
        output, content = state.chunk(2, -1)
        keep, write, show, new = self.gates(torch.cat([x, output], -1)).chunk(4, -1)
        content = torch.sigmoid(keep + _REMEMBER) * content
        content = content + torch.sigmoid(write) * torch.tanh(new)
        return torch.cat([torch.sigmoid(show) * torch.tanh(content), content], -1)

    def unroll(self, x: torch.Tensor, is_first: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """(B, T, cells) outputs along (B, T, width), from a state; it is void where (B, T)
        `is_first`."""
        outputs = []
        for t in range(x.shape[1]):
            state = self(x[:, t], reset(state, is_first[:, t]))
            outputs.append(state[:, : self.cells])
        return torch.stack(outputs, 1)


def reset(state: torch.Tensor, is_first: torch.Tensor) -> torch.Tensor:
    """The state (B, N), zeros where (B,) an episode begins."""
    return torch.where(is_first[:, None], 0.0, state)
