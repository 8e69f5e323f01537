"""Returns, and the losses of actor and critic, as pure functions of tensors (N, columns).

Column t of reward, continuation and discount belongs to arriving at state t. Imagined rollouts of
horizon H have H + 1 columns, the start included; their returns and losses have H.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch


class ScalarDist(Protocol):
    """A prediction of numbers, such as `agents.blocks.scalars.TwoHot`."""

    def __getitem__(self, index: Any) -> ScalarDist: ...

    def pred(self) -> torch.Tensor:
        """Expected numbers (...)."""
        ...

    def loss(self, target: torch.Tensor) -> torch.Tensor:
        """(...) distance from numbers (...), which get no gradient."""
        ...


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


def value_loss(
    value: ScalarDist, slow: torch.Tensor | None, returns: torch.Tensor, slow_scale: float = 1.0
) -> torch.Tensor:
    """(N, K) distance of the critic from the returns (N, K) and, if there is a slow copy, from its
    values (N, K). Only the critic is moved."""
    loss = value.loss(returns)
    return loss if slow is None else loss + slow_scale * value.loss(slow)


def policy_loss(
    weights: torch.Tensor,
    advantage: torch.Tensor,
    log_prob: torch.Tensor | None,
    entropy_loss: torch.Tensor,
    reinforce: float = 1.0,
) -> torch.Tensor:
    """(N, H) loss of the actor: what it gains by REINFORCE, and by the dynamics' own gradient.

    -w [rho log pi(a) sg(A) + (1 - rho) A] + w * entropy loss (Dreamer V2, equation 6).

    Args:
        weights: (N, H) from `imagination_weights`.
        advantage: (N, H), with gradient where `reinforce` is below 1.
        log_prob: (N, H) of the actions taken; None where `reinforce` is 0.
        entropy_loss: (N, H), falling as the policy is less decided.
        reinforce: rho, the share of REINFORCE.
    """
    gain = (1 - reinforce) * advantage if reinforce < 1 else torch.zeros_like(advantage)
    if log_prob is not None:
        gain = gain + reinforce * log_prob * advantage.detach()
    return weights.detach() * (entropy_loss - gain)


def replay_value_loss(
    value: ScalarDist,
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
