"""A second look at the same parameters."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def frozen_view(module: M) -> M:
    """A module of the same storage that no gradient reaches, though gradients pass through it.

    It follows its original's updates and loaded states, as long as those happen in place. Make it
    when the original has come to its device.
    """
    memo: dict[int, Any] = {id(b): b for b in module.buffers()}
    memo |= {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in module.parameters()}
    return copy.deepcopy(module, memo)
