"""Sokoban's own rules as a model of it: an agent that imagines with them is never wrong.

Weber et al. 2017, appendix, as `gym:dreamfleet/Sokoban-v0` has them; a test compares the two. They
are written here once more for planes of many boards at a time.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.grids import Outcome, Planes
from agents.errors import UnsupportedSpace

_STEP, _SOLVED = -0.1, 10.0  # of every step, and of the one that solves the level
_PLANES = 4  # walls, targets, boxes, the player
_MOVES = 4  # up, down, left, right; another action stays


class SokobanRules(nn.Module):
    """Frames and an action -> the next frame and its reward, exactly.

    Where all boxes are on targets the level is over: nothing moves any more, and nothing is earned.

    Args:
        planes: of the observation.
        actions: how many there are.

    Raises UnsupportedSpace when these are not those of a Sokoban seen as planes.
    """

    def __init__(self, planes: Planes, actions: int) -> None:
        super().__init__()
        channels, height, width = planes.shape
        if not planes.binary or channels != _PLANES or height != width:
            expected = "Sokoban's planes (S, S, 4), float32 of 0 and 1, for model = true"
            got = f"({height}, {width}, {channels}), {'float32' if planes.binary else 'uint8'}"
            raise UnsupportedSpace(f"observation.{planes.key}", expected, got)
        if actions not in (_MOVES, _MOVES + 1):
            expected = "Sokoban's Discrete(4), or (5) with one to stay, for model = true"
            raise UnsupportedSpace("action_space", expected, f"Discrete({actions})")

    def forward(self, frames: torch.Tensor, action: torch.Tensor) -> Outcome:
        """(B, K, 4, S, S), the newest last, and one-hot (B, A); logits are 1 and -1."""
        walls, targets, boxes, player = frames[:, -1].unbind(1)
        over = _count(boxes * (1 - targets)) == 0
        near = _ahead(player, action)
        pushed = near * boxes
        beyond = _ahead(pushed, action)
        stuck = _count(near * walls + beyond * (walls + boxes)) > 0
        goes = ((_count(near) > 0) & ~stuck & ~over).to(player.dtype)[:, None, None]
        after = boxes + goes * (beyond - pushed)
        stored, missing = _count(targets * (after - boxes)), _count(after * (1 - targets))
        earned = _STEP + stored + _SOLVED * (missing == 0)
        frame = torch.stack([walls, targets, after, player + goes * (near - player)], 1)
        return Outcome(2 * frame - 1, torch.where(over, 0.0, earned))


def _ahead(squares: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """(B, S, S) one step on in the way of actions (B, A); nothing for one that stays."""
    size = squares.shape[-1]
    x = F.pad(squares, (1, 1, 1, 1))
    starts = ((2, 1), (0, 1), (1, 2), (1, 0))  # what lies above begins one row further down
    ways = [x[:, row : row + size, column : column + size] for row, column in starts]
    return (torch.stack(ways, 1) * action[:, :_MOVES, None, None]).sum(1)


def _count(squares: torch.Tensor) -> torch.Tensor:
    """(B,) sum of (B, S, S)."""
    return squares.sum((1, 2))
