"""Imagined transitions: short branches off what really happened, kept apart from it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from agents.agent import Tensors
from agents.blocks.dynamics import Dynamics, Experience, Outcomes, Step
from robot_client.schema import ACTION

Choose = Callable[[torch.Tensor], torch.Tensor]  # observations (B, N) -> actions (B, A) in -1..1


class ImaginedRows(nn.Module):
    """The newest `capacity` imagined transitions; the oldest make room.

    Args:
        numbers: N, of an observation.
        actions: A, of an action.
        capacity: rows.
    """

    rows: torch.Tensor
    written: torch.Tensor

    def __init__(self, numbers: int, actions: int, capacity: int) -> None:
        super().__init__()
        self.sizes = [numbers, actions, numbers, 1, 1]
        self.register_buffer("rows", torch.zeros(capacity, sum(self.sizes)))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, found: Experience) -> None:
        """Keep (B,) transitions."""
        ends = (found.reward[:, None], found.going_on[:, None])
        new = torch.cat([found.x, found.action, found.after, *ends], -1)
        where = torch.arange(len(new), device=new.device) + self.written
        self.rows.index_copy_(0, where % len(self.rows), new)
        self.written.add_(len(new))

    def draw(self, uniform: torch.Tensor) -> Experience:
        """Transitions by numbers (B,) in [0, 1), all equally likely."""
        known = self.written.clamp(max=len(self.rows))
        index = (uniform * known).long().clamp(max=len(self.rows) - 1)
        x, action, after, reward, going_on = torch.split(self.rows[index], self.sizes, -1)
        return Experience(x, action, after, reward[:, 0], going_on[:, 0])


@torch.no_grad()
def branches(
    dynamics: Dynamics,
    outcomes: Outcomes,
    start: torch.Tensor,
    choose: Choose,
    steps: int,
    generator: torch.Generator,
) -> list[Experience]:
    """Imagine `steps` steps from observations (B, N), each by a member drawn anew; after its end
    a branch begins again. (B,) transitions per step (MBPO: Janner et al. 2019, algorithm 2)."""
    found, x = [], start
    for _ in range(steps):
        action = choose(x)
        step = _drawn(outcomes.of(_imagined(dynamics, x, action, generator), action), generator)
        found.append(Experience(x, action, step.after, step.reward, step.going_on))
        x = torch.where(step.going_on[:, None] > 0.5, step.after, start)
    return found


def _imagined(
    dynamics: Dynamics, x: torch.Tensor, action: torch.Tensor, generator: torch.Generator
) -> Step:
    shape = (dynamics.members, len(x), dynamics.told.width)
    noise = torch.randn(shape, generator=generator, device=x.device)
    return dynamics.step(x, action, noise)


def _drawn(step: Step, generator: torch.Generator) -> Step:
    """Of what E members say about (B,) rows, one each."""
    members, rows = step.reward.shape
    device = step.reward.device
    which = torch.randint(members, (rows,), generator=generator, device=device)
    at = (which, torch.arange(rows, device=device))
    return Step(step.after[at], step.reward[at], step.going_on.expand(members, rows)[at])


def as_batch(found: Experience, outcomes: Outcomes, discount: float) -> Tensors:
    """Imagined transitions like those of `agents.agent.Transitions`."""
    vectors, action = outcomes.vectors, outcomes.codec.decode(found.action)
    following = {f"next/{k}": t for k, t in vectors.split(found.after).items()}
    return {
        **vectors.split(found.x),
        **following,
        ACTION: action,
        "return": found.reward,
        "discount": discount * found.going_on,
    }
