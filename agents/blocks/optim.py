"""What optimisers remember, and LaProp: clip each tensor, divide by the running size, average."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

# Tensors smaller than this are clipped as if they were of this norm.
MIN_PARAMETER_NORM = 1e-3


def clip_adaptive_(
    grads: list[torch.Tensor], params: list[torch.Tensor], limit: float
) -> torch.Tensor:
    """Scale each gradient in place to at most `limit` times its parameter's norm.

    Returns:
        () norm of all gradients together, before clipping.
    """
    sizes = torch.stack(torch._foreach_norm(grads))
    allowed = limit * torch.stack(torch._foreach_norm(params)).clamp(min=MIN_PARAMETER_NORM)
    torch._foreach_div_(grads, list((sizes / allowed).clamp(min=1).unbind()))
    norm: torch.Tensor = torch.linalg.vector_norm(sizes)
    return norm


class Moments(torch.optim.Optimizer):
    """What the optimisers here share: two moments of every parameter, and how to store them.

    One group of parameters, all on one device. Nothing waits for the device, and nothing depends
    on the host: a step can be compiled or captured.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, beta1: float, beta2: float, eps: float
    ) -> None:
        super().__init__(params, {"lr": lr})
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps
        self._params: list[torch.Tensor] = self.param_groups[0]["params"]
        self._mean = [torch.zeros_like(p) for p in self._params]
        self._square = [torch.zeros_like(p) for p in self._params]
        self._updates = torch.zeros((), dtype=torch.int64, device=self._params[0].device)

    def _unbias(self, beta: float) -> torch.Tensor:
        # In double precision: 1 - beta**n loses its digits in float32 during the first updates.
        return 1 - beta ** self._updates.double()

    def _root_of_square(self, grads: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Take in gradients; returns the root of their unbiased mean square, plus eps."""
        torch._foreach_mul_(self._square, self.beta2)
        torch._foreach_addcmul_(self._square, grads, grads, 1 - self.beta2)
        root = torch._foreach_sqrt(self._square)
        torch._foreach_div_(root, self._unbias(self.beta2).sqrt().to(root[0].dtype))
        torch._foreach_add_(root, self.eps)
        return root

    def state_dict(self) -> dict[str, Any]:
        """Flat name -> tensor: `updates`, and `mean/<i>`, `square/<i>` of the i-th parameter."""
        moments = {"mean": self._mean, "square": self._square}
        named = {f"{n}/{i}": t for n, ts in moments.items() for i, t in enumerate(ts)}
        return {"updates": self._updates, **named}

    @torch.no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; raises ValueError when names or shapes differ."""
        own = self.state_dict()
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in state_dict.items()}:
            raise ValueError("this optimiser state belongs to other parameters")
        for name, tensor in own.items():
            tensor.copy_(state_dict[name])


class LaProp(Moments):
    """One group of parameters; every one must have a gradient at each step, which gets clipped.

    The learning rate rises linearly from 0, so the first update only fills the moments; with
    `anneal` it then falls linearly to a tenth at that update. `weight_decay` is for tensors of
    two or more axes.

    Args:
        params: what to optimise.
        lr: learning rate.
        agc: largest norm of a gradient, as a share of its parameter's norm.
        beta1: decay of the average of updates.
        beta2: decay of the average of squares.
        eps: added to the root of squares.
        warmup: updates until the full learning rate, at least 1.
        anneal: update at which the rate has fallen to a tenth; 0 keeps it.
        weight_decay: share of the parameter added to its update.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 4e-5,
        agc: float = 0.3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-20,
        warmup: int = 1000,
        anneal: int = 0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, beta1, beta2, eps)
        self.agc, self.warmup, self.anneal, self.weight_decay = agc, warmup, anneal, weight_decay

    def learning_rate(self) -> torch.Tensor:
        """() rate of the next update, on the device."""
        before = self._updates.double()
        rate = self.lr * (before / self.warmup).clamp(max=1)
        if self.anneal:
            done = (before - self.warmup) / (self.anneal - self.warmup)
            rate = rate * (1 - 0.9 * done.clamp(0, 1))
        return rate

    @torch.no_grad()
    def step(self, closure: None = None) -> torch.Tensor:  # type: ignore[override]
        """One update; returns the () norm of the gradient before clipping."""
        grads = [p.grad for p in self._params]
        norm = clip_adaptive_(grads, self._params, self.agc)  # type: ignore[arg-type]
        rate = self.learning_rate()
        self._updates.add_(1)
        self._average(grads)  # type: ignore[arg-type]
        self._move(rate)
        return norm

    def _average(self, grads: list[torch.Tensor]) -> None:
        root = self._root_of_square(grads)
        torch._foreach_mul_(self._mean, self.beta1)
        torch._foreach_addcdiv_(self._mean, grads, root, 1 - self.beta1)

    def _move(self, rate: torch.Tensor) -> None:
        share = -rate / self._unbias(self.beta1)
        change = torch._foreach_mul(self._mean, share.to(self._mean[0].dtype))
        if self.weight_decay:
            wide = [p for p in self._params if p.ndim >= 2]
            decay = torch._foreach_mul(wide, (-rate * self.weight_decay).to(wide[0].dtype))
            torch._foreach_add_([c for c in change if c.ndim >= 2], decay)
        torch._foreach_add_(self._params, change)
