"""Values of paths: rewards for some steps, then a critic's word for what follows.

Axes: K steps from 0, the step that was really taken; the last one a batch of any shape (...).
"""

from __future__ import annotations

import torch


def path_values(
    reward: torch.Tensor, factor: torch.Tensor, following: torch.Tensor
) -> torch.Tensor:
    """What each step of a path is worth (Feinberg et al. 2018, equation 3).

    Args:
        reward: (K, ...) of step k.
        factor: (K, ...) of what follows step k: the discount, or less where the task may end.
        following: (...) value of where the path ends.

    Returns:
        (K, ...) reward[k] + factor[k] * value[k + 1].
    """
    found = []
    for earned, share in zip(reward.flip(0), factor.flip(0), strict=True):
        following = earned + share * following
        found.append(following)
    return torch.stack(found[::-1])


def horizon_values(
    reward: torch.Tensor, factor: torch.Tensor, following: torch.Tensor
) -> torch.Tensor:
    """What step 0 is worth, if one believes the path for h steps more and the critic from there.

    Args:
        reward, factor: as for `path_values`.
        following: (K, ...) value of where step k led to.

    Returns:
        (K, ...) for h = 0 to K - 1.
    """
    reached, earned = torch.ones_like(factor[0]), torch.zeros_like(factor[0])
    found = []
    for now, share, value in zip(reward, factor, following, strict=True):
        earned, reached = earned + reached * now, reached * share
        found.append(earned + reached * value)
    return torch.stack(found)


def steve(candidates: torch.Tensor, least: float = 1e-8) -> tuple[torch.Tensor, torch.Tensor]:
    """A mean over horizons, each weighted by how well its candidates agree (Buckman et al. 2018,
    "Sample-efficient reinforcement learning with stochastic ensemble value expansion", equation 7).

    Args:
        candidates: (K, C, ...) values for each horizon, by C pairs of a model and a critic.
        least: added to their variances.

    Returns:
        (...) values, and (K, ...) the weights, which sum to 1.
    """
    sure = 1 / (candidates.var(1, unbiased=False) + least)
    weight = sure / sure.sum(0)
    return (weight * candidates.mean(1)).sum(0), weight
