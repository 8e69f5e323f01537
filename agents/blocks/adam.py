"""Adam as the older generations use it: the whole gradient clipped, weights decayed apart."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from agents.blocks.optim import Moments


def clip_global_(grads: list[torch.Tensor], limit: float) -> torch.Tensor:
    """Scale gradients in place so that their norm, all together, is at most `limit`.

    Returns:
        () that norm before clipping.
    """
    norm: torch.Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    torch._foreach_mul_(grads, (limit / norm).clamp(max=1))
    return norm


class Adam(Moments):
    """Adam (Kingma and Ba, 2015) with decoupled weight decay (Loshchilov and Hutter, 2019).

    Every parameter must have a gradient at each step, which gets clipped.

    Args:
        params: what to optimise.
        lr: learning rate.
        clip: largest norm of all gradients together.
        beta1: decay of the average of gradients.
        beta2: decay of the average of squares.
        eps: added to the root of squares.
        weight_decay: p becomes p (1 - lr weight_decay) before each update, for tensors of two or
            more axes.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-4,
        clip: float = 100.0,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, beta1, beta2, eps)
        self.clip, self.weight_decay = clip, weight_decay

    @torch.no_grad()
    def step(self, closure: None = None) -> torch.Tensor:  # type: ignore[override]
        """One update; returns the () norm of the gradient before clipping."""
        grads: list[torch.Tensor] = [p.grad for p in self._params]  # type: ignore[misc]
        norm = clip_global_(grads, self.clip)
        self._updates.add_(1)
        if self.weight_decay:
            wide = [p for p in self._params if p.ndim >= 2]
            torch._foreach_mul_(wide, 1 - self.lr * self.weight_decay)
        torch._foreach_lerp_(self._mean, grads, 1 - self.beta1)
        share = -self.lr / self._unbias(self.beta1)
        change = torch._foreach_mul(self._mean, share.to(norm.dtype))
        torch._foreach_div_(change, self._root_of_square(grads))
        torch._foreach_add_(self._params, change)
        return norm


class FusedAdam(Moments):
    """Adam in one call, for small networks, whose many calls would take longer than the work.

    Args:
        params: what to optimise; every one must have a gradient at each step.
        lr: learning rate.
        clip: largest norm of all gradients together.
        eps: added to the root of squares.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        clip: float = math.inf,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr, beta1=0.9, beta2=0.999, eps=eps)
        self.clip = clip
        self._updates = self._updates.float()  # as the call wants it

    @torch.no_grad()
    def step(self, closure: None = None) -> torch.Tensor:  # type: ignore[override]
        """One update; returns the () norm of the gradient before clipping."""
        grads: list[torch.Tensor] = [p.grad for p in self._params]  # type: ignore[misc]
        if math.isfinite(self.clip):
            norm = clip_global_(grads, self.clip)
        else:
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        self._updates.add_(1)
        torch._fused_adam_(
            self._params,
            grads,
            self._mean,
            self._square,
            [],
            [self._updates] * len(grads),
            lr=self.lr,
            beta1=self.beta1,
            beta2=self.beta2,
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )
        return norm
