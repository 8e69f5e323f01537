"""Returns, and the losses of actor and critic, as pure functions of tensors (N, columns).

Column t of reward, continuation and discount belongs to arriving at state t. Imagined rollouts of
horizon H have H + 1 columns, the start included; their returns and losses have H.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from agents.blocks.scalars import TwoHot


def lambda_return(
    reward: torch.Tensor, discount: torch.Tensor, boot: torch.Tensor, lam: torch.Tensor | float
) -> torch.Tensor:
    """Mixed n-step returns of the states 0..T-2 from columns 0..T-1.

    R_t = reward_{t+1} + discount_{t+1} [(1 - lam_{t+1}) boot_{t+1} + lam_{t+1} R_{t+1}], and the
    last state is worth its boot. A discount of 0 ends the return, a lam of 0 only cuts it.

    Args:
        reward: (N, T) received on arriving.
        discount: (N, T) factor of everything after arriving.
        boot: (N, T) estimated value.
        lam: (N, T), or one number for all.

    Returns:
        (N, T-1).
    """
    onward = (discount * lam)[:, 1:]
    fixed = torch.addcmul(reward, discount * (1 - lam), boot)[:, 1:]
    value = torch.cat([fixed, boot[:, -1:]], 1)
    # value_t + onward_t * (what follows): the reach doubles with each round, so a sequence takes
    # a few launches on whole arrays instead of several for each column.
    reach = 1
    while reach < value.shape[1]:
        longer = torch.addcmul(value[:, :-reach], onward, value[:, reach:])
        value = torch.cat([longer, value[:, -reach:]], 1)
        onward = onward[:, :-reach] * onward[:, reach:]
        reach *= 2
    return value[:, :-1]


def imagined_return(
    reward: torch.Tensor,
    con: torch.Tensor,
    value: torch.Tensor,
    *,
    lam: float = 0.95,
    discount: float = 1.0,
) -> torch.Tensor:
    """(N, H) returns along imagined states, without gradient.

    Args:
        reward: (N, H+1) predicted.
        con: (N, H+1) predicted probability that the episode goes on.
        value: (N, H+1) the critic's prediction.
        lam: mixing of the n-step returns.
        discount: further factor per step; 1 where `con` already holds it.
    """
    with torch.no_grad():
        return lambda_return(reward, discount * con, value, lam)


def replay_return(
    reward: torch.Tensor,
    is_last: torch.Tensor,
    is_terminal: torch.Tensor,
    boot: torch.Tensor,
    *,
    lam: float = 0.95,
    discount: float = 1 - 1 / 333,
) -> torch.Tensor:
    """(N, T-1) returns along recorded rows, without gradient.

    They stop at a terminal row and never mix across an episode's last row.
    """
    with torch.no_grad():
        live = discount * (1 - is_terminal.to(reward.dtype))
        return lambda_return(reward, live, boot, lam * (1 - is_last.to(reward.dtype)))


def imagination_weights(con: torch.Tensor, discount: float = 1.0) -> torch.Tensor:
    """(N, H+1) probability that each imagined state is reached, without gradient; includes the
    start's own continuation."""
    return (discount * con.detach()).cumprod(1) / discount


class ImaginationLosses(NamedTuple):
    """(N, H) each."""

    policy: torch.Tensor
    value: torch.Tensor


def value_loss(
    value: TwoHot, slow: torch.Tensor, returns: torch.Tensor, slow_scale: float = 1.0
) -> torch.Tensor:
    """(N, K) distance of the critic from the returns (N, K) and from its slow copy's values."""
    return value.loss(returns) + slow_scale * value.loss(slow)


def imagination_losses(
    log_prob: torch.Tensor,
    entropy: torch.Tensor,
    value: TwoHot,
    baseline: torch.Tensor,
    slow: torch.Tensor,
    returns: torch.Tensor,
    scale: torch.Tensor,
    weights: torch.Tensor,
    *,
    entropy_scale: float = 3e-4,
    slow_scale: float = 1.0,
) -> ImaginationLosses:
    """Losses of the actor (REINFORCE over the critic's baseline) and of the critic.

    Neither moves the reward, continuation or slow critic; the actor's does not move the critic.

    Args:
        log_prob: (N, H) of the actions taken.
        entropy: (N, H) of the policy.
        value: critic at the H states acted in.
        baseline: (N, H) its predictions.
        slow: (N, H) the slow critic's predictions there.
        returns: (N, H) from `imagined_return`.
        scale: () what the advantage is divided by.
        weights: (N, H) from `imagination_weights`.
        entropy_scale: weight of the entropy.
        slow_scale: weight of the slow critic.
    """
    weights = weights.detach()
    advantage = ((returns - baseline) / scale).detach()
    policy = -weights * (log_prob * advantage + entropy_scale * entropy)
    return ImaginationLosses(policy, weights * value_loss(value, slow, returns, slow_scale))


def replay_value_loss(
    value: TwoHot,
    slow: torch.Tensor,
    returns: torch.Tensor,
    is_last: torch.Tensor,
    *,
    slow_scale: float = 1.0,
) -> torch.Tensor:
    """(N, T-1) the critic's loss on recorded rows but the last, 0 where an episode ends.

    Args:
        value: critic at rows 0..T-2; gradient goes on into the features.
        slow: (N, T-1) the slow critic's predictions there.
        returns: (N, T-1) from `replay_return`.
        is_last: (N, T-1).
        slow_scale: weight of the slow critic.
    """
    return (1 - is_last.to(returns.dtype)) * value_loss(value, slow, returns, slow_scale)
