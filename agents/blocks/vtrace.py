"""V-trace (Espeholt et al. 2018, "IMPALA", equations 1 and 2): n-step returns that are right though
a somewhat older policy acted.

Columns are steps: what a step earned, and what it led to. Where the policy has not changed, the
targets are the plain n-step returns of A3C (Mnih et al. 2016), each to the rollout's end; with a
`lam` below 1, target - value is then the generalised advantage (Schulman et al. 2016).
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Found(NamedTuple):
    """All (B, T), without gradient.

    Args:
        target: what the values should be.
        advantage: of the actions taken, times how likely they are by now, if that is less than 1.
    """

    target: torch.Tensor
    advantage: torch.Tensor


@torch.no_grad()
def vtrace(
    log_rho: torch.Tensor,
    reward: torch.Tensor,
    discount: torch.Tensor,
    value: torch.Tensor,
    following: torch.Tensor,
    ends: torch.Tensor,
    *,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    rho_bar_pg: float = 1.0,
    lam: float = 1.0,
) -> Found:
    """Targets and advantages of steps (B, T).

    Args:
        log_rho: log-probability of the action by now, less that by the policy that acted.
        reward: of the step.
        discount: factor of what follows it; 0 where it led to the task's end.
        value: of the state in which the action was taken.
        following: value of the state to which it led.
        ends: whether the episode ended there for any reason: the next column is another's.
        rho_bar, c_bar: most that a step's own error, and those that follow, may count.
        rho_bar_pg: most that the advantage may count.
        lam: share of the errors that follow.
    """
    ratio = log_rho.exp()
    trace = lam * ratio.clamp(max=c_bar)
    error = ratio.clamp(max=rho_bar) * (reward + discount * following - value)
    onward = torch.zeros_like(reward[:, 0])
    later, total = [], []
    for t in reversed(range(reward.shape[1])):
        onward = torch.where(ends[:, t], 0.0, onward)
        later.append(onward)
        onward = error[:, t] + discount[:, t] * trace[:, t] * onward
        total.append(onward)
    after, errors = (torch.stack(columns[::-1], 1) for columns in (later, total))
    gain = reward + discount * (following + after) - value
    return Found(value + errors, ratio.clamp(max=rho_bar_pg) * gain)
