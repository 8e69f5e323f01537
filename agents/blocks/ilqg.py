"""Iterative LQG (Todorov and Li 2005): the best linear controller around the best path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

_STEPS = (1.0, 0.5, 0.25, 0.1, 0.0)  # shares of a change that are tried; the last changes nothing
_LEAST, _MOST = 1e-4, 1e4  # how much changes of actions cost besides

# Of observations (P, N) and actions (P, A) that led to others (P, N): (P,).
Rewards = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Plan:
    """Act by a[t] + gain[t] (x - x[t]): x (T, N), action (T, A), gain (T, A, N); `value` is the
    sum of rewards that the model promises."""

    x: torch.Tensor
    action: torch.Tensor
    gain: torch.Tensor
    value: torch.Tensor


@torch.no_grad()
def ilqg(
    slopes: torch.Tensor,
    offsets: torch.Tensor,
    rewards: Rewards,
    start: torch.Tensor,
    action: torch.Tensor,
    iterations: int,
) -> Plan:
    """Improve a path under time-varying linear dynamics.

    Args:
        slopes, offsets: (T, N, N + A) and (T, N), x[t + 1] = slopes [x, a] + offsets.
        rewards: of steps; twice differentiable.
        start: (N,) where the path begins.
        action: (T, A) to begin with, in -1..1, as all that are found.
        iterations: backward and forward passes.
    """
    width = start.shape[0]
    still = torch.zeros(*action.shape, width, device=start.device)
    plan = Plan(start.expand(len(action), -1), action, still, start.new_zeros(()))
    plan = _forward(slopes, offsets, rewards, start, plan, torch.zeros_like(action), (0.0,))
    stiff = 1e-2
    for _ in range(iterations):
        gradient, curvature = _quadratic(slopes, offsets, rewards, plan)
        change, gain = _backward(slopes, gradient, curvature, stiff)
        tried = Plan(plan.x, plan.action, gain, plan.value)
        found = _forward(slopes, offsets, rewards, start, tried, change, _STEPS)
        better = bool(found.value > plan.value)
        stiff = min(max(stiff * (0.3 if better else 10.0), _LEAST), _MOST)
        plan = found if better else plan
    return plan


def _forward(
    slopes: torch.Tensor,
    offsets: torch.Tensor,
    rewards: Rewards,
    start: torch.Tensor,
    plan: Plan,
    change: torch.Tensor,
    shares: tuple[float, ...],
) -> Plan:
    """The best of the paths with so much of the change."""
    share = start.new_tensor(shares)[:, None]
    x, total = start.expand(len(shares), -1), start.new_zeros(len(shares))
    states, actions = [], []
    for t in range(len(slopes)):
        feedback = (x - plan.x[t]) @ plan.gain[t].T
        action = (plan.action[t] + share * change[t] + feedback).clamp(-1, 1)
        states.append(x)
        actions.append(action)
        after = torch.cat([x, action], -1) @ slopes[t].T + offsets[t]
        total = total + rewards(x, action, after)
        x = after
    best = total.nan_to_num(-torch.inf).argmax()
    path, does = (torch.stack(part, 1)[best] for part in (states, actions))
    return Plan(path, does, plan.gain, total[best])


def _quadratic(
    slopes: torch.Tensor, offsets: torch.Tensor, rewards: Rewards, plan: Plan
) -> tuple[torch.Tensor, torch.Tensor]:
    """(T, N + A) and (T, N + A, N + A): of the costs by state and action, curved upwards."""
    width = plan.x.shape[-1]

    def cost(both: torch.Tensor, slope: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        after = slope @ both + offset
        return -rewards(both[None, :width], both[None, width:], after[None])[0]

    both = torch.cat([plan.x, plan.action], -1)
    with torch.enable_grad():
        gradient = torch.func.vmap(torch.func.grad(cost))(both, slopes, offsets)
        curvature = torch.func.vmap(torch.func.jacrev(torch.func.grad(cost)))(both, slopes, offsets)
    gradient, curvature = (v.detach().nan_to_num(0.0, 0.0, 0.0) for v in (gradient, curvature))
    values, vectors = torch.linalg.eigh((curvature + curvature.mT) / 2)
    return gradient, vectors @ torch.diag_embed(values.clamp(min=0)) @ vectors.mT


def _backward(
    slopes: torch.Tensor, gradient: torch.Tensor, curvature: torch.Tensor, stiff: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(T, A) changes of the actions, and (T, A, N) gains."""
    width = slopes.shape[1]
    slope, curve = slopes.new_zeros(width), slopes.new_zeros(width, width)
    changes, gains = [], []
    for f, g, h in zip(slopes.flip(0), gradient.flip(0), curvature.flip(0), strict=True):
        by, square = g + f.T @ slope, h + f.T @ curve @ f
        by_x, by_a = by[:width], by[width:]
        xx, ax, aa = square[:width, :width], square[width:, :width], square[width:, width:]
        solid = aa + stiff * torch.eye(len(aa), device=aa.device)
        found = -torch.linalg.solve(solid, torch.cat([by_a[:, None], ax], -1))
        change, gain = found[:, 0], found[:, 1:]
        slope = by_x + gain.T @ (aa @ change + by_a) + ax.T @ change
        curve = xx + gain.T @ aa @ gain + gain.T @ ax + ax.T @ gain
        curve = (curve + curve.T) / 2
        changes.append(change)
        gains.append(gain)
    return torch.stack(changes[::-1]), torch.stack(gains[::-1])
