"""Learned dynamics: several networks that each say how likely which next observation is.

The ensemble of PETS (Chua et al. 2018, "Deep reinforcement learning in a handful of trials using
probabilistic dynamics models"): the spread of a member is chance, what members disagree on is not
known. A member predicts the change of the observation, the reward, and whether the episode goes on.

Departures from PETS, each measured. A number that is easily predicted would be told with a tiny
variance, whose inverse then is nearly all of the gradient of what the numbers share: each
likelihood counts by the root of its variance (Seitzer et al. 2022, "On the pitfalls of
heteroscedastic uncertainty estimation with probabilistic neural networks", beta = 0.5), and
numbers that never change do not count. The end has nets of its own, or it would only learn how
often episodes end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.agent import Tensors
from agents.blocks.actions import ActionCodec
from agents.blocks.normalize import Units
from agents.blocks.observe import Vectors, part
from agents.blocks.stacks import Members
from robot_client.rewards import ACTION_NAME
from robot_client.schema import ACTION, Task

_BETA = 0.5
_BOUND_WEIGHT = 0.01  # how much the bounds of the variances are drawn together
_GOES_ON = 4.0  # log-odds at first: that an episode ends has to be seen
_POISSON = [math.exp(-1) * sum(1 / math.factorial(k) for k in range(n + 1)) for n in range(8)]


@dataclass(frozen=True)
class Experience:
    """What followed actions: x and after (B, N), action (B, A) in -1..1, reward and going_on (B,).

    `going_on` is 0 where the task has ended, else 1: a time limit is no end.
    """

    x: torch.Tensor
    action: torch.Tensor
    after: torch.Tensor
    reward: torch.Tensor
    going_on: torch.Tensor


def experience(batch: Tensors, vectors: Vectors, codec: ActionCodec) -> Experience:
    """What a batch of `agents.agent.Transitions` of one step, of a discount above 0, says."""
    return Experience(
        vectors(batch),
        codec.encode(batch[ACTION]),
        vectors(part(batch, "next/")),
        batch["return"],
        (batch["discount"] > 0).float(),
    )


@dataclass(frozen=True)
class Foreseen:
    """What E members think: of the change of the N observations and the reward, in their units,
    mean and log_var (E, B, N + 1); and the log-odds (E, B) that the episode goes on."""

    mean: torch.Tensor
    log_var: torch.Tensor
    goes_on: torch.Tensor


@dataclass(frozen=True)
class Step:
    """One imagined step: observations (E, B, N), reward (E, B), and the chance (E, B) that the
    episode goes on."""

    after: torch.Tensor
    reward: torch.Tensor
    going_on: torch.Tensor


class Dynamics(nn.Module):
    """E networks from an observation and an action to what follows.

    Args:
        vectors: the observations; what is imagined stays within their bounds.
        actions: A, numbers of an encoded action.
        widths: of the hidden layers, with SiLU; the end's nets have the first of them.
        members: E.
    """

    def __init__(
        self, vectors: Vectors, actions: int, widths: tuple[int, ...], members: int
    ) -> None:
        super().__init__()
        n = vectors.width
        self.vectors, self.members = vectors, members
        self.nets = Members(members, n + actions, widths, 2 * (n + 1), F.silu)
        self.ends = Members(members, n + actions, widths[:1], 1, F.silu)
        nn.init.constant_(self.ends.biases[-1], _GOES_ON)
        self.seen, self.told = Units(n), Units(n + 1)
        self.least = nn.Parameter(torch.full((n + 1,), -10.0))
        self.most = nn.Parameter(torch.full((n + 1,), 0.5))
        self._shares = Shares(members, 2 * n + actions)

    def forward(self, x: torch.Tensor, action: torch.Tensor) -> Foreseen:
        """(B, N) and (B, A), the same for all members, or (E, B, N) and (E, B, A)."""
        inputs = torch.cat([self.seen.normalise(x), action], -1)
        mean, spread = self.nets(inputs).chunk(2, -1)
        # Bounds that are soft, so that what lies beyond has a slope back (PETS, appendix A.1).
        log_var = self.most - F.softplus(self.most - spread)
        log_var = self.least + F.softplus(log_var - self.least)
        return Foreseen(mean, log_var, self.ends(inputs)[..., 0])

    def step(
        self, x: torch.Tensor, action: torch.Tensor, noise: torch.Tensor | None = None
    ) -> Step:
        """What happens to (B, N) or (E, B, N): the mean, or drawn by normal `noise` (E, B, N + 1).

        To keep a particle with its member give it (E, B, N); to draw one of the members' answers
        anew at each step, choose along the first axis.
        """
        found = self(x, action)
        mean = found.mean
        if noise is not None:
            mean = mean + noise * (0.5 * found.log_var).exp()
        told = self.told.restore(mean)
        after = self.vectors.within(x + told[..., :-1])
        return Step(after, told[..., -1], torch.sigmoid(found.goes_on))

    @torch.no_grad()
    def learn_units(self, seen: Experience) -> None:
        """Take in of what size observations, changes and rewards are. Before each `loss`."""
        self.seen.update(seen.x)
        self.told.update(_told(seen))

    def loss(self, seen: Experience) -> tuple[torch.Tensor, Tensors]:
        """() the members' negative log-likelihoods, each of its own share of the rows, and metrics.

        A likelihood is summed over those of the N + 1 numbers that vary, each times the root of its
        variance, averaged over the rows, and summed over the members, without its constant and its
        factor 1/2.
        """
        found = self(seen.x, seen.action)
        error = (self.told.normalise(_told(seen)) - found.mean).square()
        weight = self.told.varies() * (_BETA * found.log_var.detach()).exp()
        unlikely = (weight * (error * (-found.log_var).exp() + found.log_var)).sum(-1)
        goes_on = seen.going_on.expand_as(found.goes_on)
        ends = F.binary_cross_entropy_with_logits(found.goes_on, goes_on, reduction="none")
        share = self._shares(torch.cat([seen.x, seen.action, seen.after], -1))
        loss = (share * (unlikely + ends)).mean(-1).sum()
        width = (self.most - self.least).sum()
        metrics = {
            "loss/model": loss.detach(),
            "model/error": error.detach().mean().sqrt(),
            "model/disagreement": found.mean.detach().var(0, unbiased=False).mean().sqrt(),
        }
        return loss + _BOUND_WEIGHT * width, metrics


class Shares(nn.Module):
    """Which rows a member learns from, as if it had drawn as many as there are with replacement:
    each so often as a Poisson number of mean 1 says (Oza and Russell 2001, "Online bagging and
    boosting"). The number follows from the row itself, so it is the same whenever the row is
    replayed, and nothing has to be kept. A member that is alone learns from all.
    """

    factors: torch.Tensor
    steps: torch.Tensor

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.members = members
        rng = torch.Generator().manual_seed(1)
        factors = torch.randint(2**61, (width, members), generator=rng) * 2 + 1
        self.register_buffer("factors", factors, persistent=False)
        self.register_buffer("steps", torch.tensor(_POISSON), persistent=False)

    @torch.no_grad()
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, width) float32 -> (E, B) how often."""
        if self.members == 1:
            return torch.ones(1, len(rows), device=rows.device)
        bits = rows.float().contiguous().view(torch.int32).long()
        mixed = (bits[..., None] * self.factors).sum(1)  # wraps around
        mixed = (mixed ^ (mixed >> 29)) * self.factors[0]
        uniform = ((mixed >> 39) & (2**24 - 1)).float() / 2**24
        return (uniform.T[..., None] >= self.steps).float().sum(-1)


@dataclass(frozen=True)
class Outcomes:
    """What is declared of a task in place of what a model has learned.

    Args:
        vectors, codec: of the observations and actions.
        task: what the robot is to do, if that is known.
    """

    vectors: Vectors
    codec: ActionCodec
    task: Task | None

    def of(self, step: Step, action: torch.Tensor) -> Step:
        """The step that actions (..., A) led to, with the task's own reward and end where it
        declares them of what is observed here."""
        task, reward, going_on = self.task, step.reward, step.going_on
        values = self.vectors.split(step.after)
        robots = self.codec.decode(action)  # a choice has no axis of its own
        values[ACTION_NAME] = robots.expand(*step.reward.shape, *robots.shape[action.ndim - 1 :])
        if task is not None and task.reward is not None and task.reward.names <= values.keys():
            reward = task.reward(values)
        if task is not None and task.terminal is not None and task.terminal.names <= values.keys():
            going_on = (task.terminal(values) == 0).float()
        return Step(step.after, reward, going_on)


def _told(seen: Experience) -> torch.Tensor:
    """(B, N + 1) change of the observation, and the reward."""
    return torch.cat([seen.after - seen.x, seen.reward[..., None]], -1)
