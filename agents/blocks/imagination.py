"""Rows that did not happen: short roll-outs of a local linear model, for a learner that replays.

Gu et al. 2016, section 5: from where the robot has really been, at the times when it was there, the
policy of the day goes on for some steps in the model of the day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.dynamics import Experience, Outcomes, Step
from agents.blocks.ilqg import Plan, ilqg
from agents.blocks.local_linear import LocalLinear
from agents.blocks.normalize import Units
from agents.blocks.ring import Ring
from agents.blocks.stacks import Members

# Observations (B, N) at times (B,) -> actions (B, A), with their noise.
Policy = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Fiction:
    """Imagined rows (B, ...), with `factor` (B,) of what follows, and `weight` (B,): how likely it
    is that the task has come so far."""

    x: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    after: torch.Tensor
    factor: torch.Tensor
    weight: torch.Tensor


class LearnedReward(nn.Module):
    """What an action (..., A) in an observation (..., N) earns, where no task says it."""

    def __init__(self, width: int, actions: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.net = Members(1, width + actions, widths, 1, F.silu)  # smooth, for controllers
        self.seen, self.told = Units(width), Units(1)

    def forward(self, x: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """(B, N), (B, A) -> (B,)."""
        raw = self.net(torch.cat([self.seen.normalise(x), action], -1))[0]
        reward: torch.Tensor = self.told.restore(raw)[:, 0]
        return reward

    def loss(self, seen: Experience) -> torch.Tensor:
        """() squared error in its own units, which it learns on the way."""
        told = seen.reward[:, None]
        self.seen.update(seen.x)
        self.told.update(told)
        raw = self.net(torch.cat([self.seen.normalise(seen.x), seen.action], -1))[0]
        loss: torch.Tensor = (raw - self.told.normalise(told)).square().mean()
        return loss


class Controller(nn.Module):
    """A plan as buffers, which travel with the weights. A `share` of the episodes follow it."""

    x: torch.Tensor
    action: torch.Tensor
    gain: torch.Tensor
    share: torch.Tensor

    def __init__(self, width: int, actions: int, steps: int) -> None:
        super().__init__()
        self.register_buffer("x", torch.zeros(steps, width))
        self.register_buffer("action", torch.zeros(steps, actions))
        self.register_buffer("gain", torch.zeros(steps, actions, width))
        self.register_buffer("share", torch.zeros(()))

    def forward(self, x: torch.Tensor, clock: torch.Tensor) -> torch.Tensor:
        """(B, N) at times (B,) -> (B, A) in -1..1."""
        time = clock.to(torch.int64).clamp(0, len(self.action) - 1)
        away = (x - self.x[time])[..., None]
        return (self.action[time] + (self.gain[time] @ away)[..., 0]).clamp(-1, 1)

    @torch.no_grad()
    def follow(self, plan: Plan, share: float) -> None:
        """Take over a plan."""
        for own, new in ((self.x, plan.x), (self.action, plan.action), (self.gain, plan.gain)):
            own.copy_(new)
        self.share.fill_(share)


class Imagination(nn.Module):
    """A model that is refitted as rows come, and the newest rows imagined with it.

    Args:
        model, reward, controller: see there.
        ring: of (2 N + A + 3) numbers a row.
        discount: per step.
    """

    def __init__(
        self,
        model: LocalLinear,
        reward: LearnedReward,
        controller: Controller,
        ring: Ring,
        discount: float,
    ) -> None:
        super().__init__()
        self.model, self.reward, self.controller, self.ring = model, reward, controller, ring
        self.discount = discount

    def plan(self, outcomes: Outcomes, share: float, iterations: int) -> None:
        """Improve the controller under the model of the day. It begins with what it was."""

        def rewards(x: torch.Tensor, action: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
            learned = self.reward(x, action)
            return outcomes.of(Step(after, learned, torch.ones_like(learned)), action).reward

        found = ilqg(
            *self.model.matrices(), rewards, self.model.start(), self.controller.action, iterations
        )
        self.controller.follow(found, share)

    @torch.no_grad()
    def imagine(
        self,
        x: torch.Tensor,
        clock: torch.Tensor,
        policies: Sequence[tuple[Policy, float]],
        outcomes: Outcomes,
        steps: int,
        noise: Callable[..., torch.Tensor],
    ) -> None:
        """Write down roll-outs of so many steps from observations (B, N) at times (B,), each policy
        with its share of them; with `noise(B, N)` of a normal."""
        counts = [round(share * len(x)) for _, share in policies[:-1]]
        counts.append(len(x) - sum(counts))
        likely = (clock >= 0).to(x.dtype)
        for _ in range(steps):
            parts = zip(policies, torch.split(x, counts), torch.split(clock, counts), strict=True)
            action = torch.cat([policy(*part) for (policy, _), *part in parts])
            after = self.model.step(x, action, clock, noise(*x.shape))
            after = outcomes.vectors.within(after)
            learned = self.reward(x, action)
            found = outcomes.of(Step(after, learned, torch.ones_like(learned)), action)
            factor = self.discount * found.going_on
            rest = torch.stack([found.reward, factor, likely], -1)
            self.ring.write(torch.cat([x, action, after, rest], -1))
            x, clock, likely = after, clock + 1, likely * found.going_on

    def draw(self, count: int, generator: torch.Generator) -> Fiction:
        """Some of the imagined rows."""
        n, a = self.model.width, self.model.actions
        rows = self.ring.draw(count, generator)
        x, action, after, rest = torch.split(rows, [n, a, n, 3], -1)
        reward, factor, weight = rest.unbind(-1)
        return Fiction(x, action, reward, after, factor, weight)
