"""Deep Dyna: what is imagined from where, how it is kept, and what the base learns from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.agent import Tensors
from agents.blocks.dynamics import Experience, Outcomes
from agents.blocks.imagined import ImaginedRows, as_batch, branches
from agents.dqn import DQN
from agents.dyna import Dyna, DynaConfig
from agents.sac import SAC
from agents.testing import random_batch
from robot_client.rewards import Expression, Quadratic
from robot_client.schema import Task

SEEN = spaces.Dict(x=spaces.Box(-99, 99, (1,), np.float32))
ARM = spaces.Box(-2, 2, (1,), np.float32)
CPU = torch.device("cpu")
SMALL = {"batch_size": 8, "widths": (8,), "members": 2, "warmup": 0, "updates": 2, "capacity": 16}


def build(action: Any = ARM, **config: Any) -> Dyna:
    torch.manual_seed(0)
    full = DynaConfig.model_validate({**SMALL, "dqn": {"widths": (8,)}, **config})
    return Dyna(SEEN, action, full, CPU)


def batch_of(agent: Dyna, action: Any = ARM) -> Tensors:
    return random_batch(agent, SEEN, action, torch.Generator().manual_seed(1))


def moves(agent: Dyna, change: float) -> None:
    """The model thinks that every step adds so much, for sure, and pays 1."""
    nets, ends = agent.dynamics.nets, agent.dynamics.ends
    with torch.no_grad():
        for tensor in (*nets.weights, *nets.biases, *ends.weights):
            tensor.zero_()
        nets.biases[-1][..., 0], nets.biases[-1][..., 1] = change, 1.0
        nets.biases[-1][..., 2:4] = -100.0
        ends.biases[-1].fill_(100.0)


def test_the_base_goes_with_the_actions() -> None:
    assert isinstance(build().base, SAC)
    assert isinstance(build(spaces.Discrete(2)).base, DQN)


def test_the_newest_imagined_rows_are_kept() -> None:
    kept = ImaginedRows(1, 1, capacity=3)
    for k in range(4):
        column = torch.full((1, 1), float(k))
        kept.add(Experience(column, column, column + 1, column[:, 0], torch.ones(1)))
        assert int(kept.draw(torch.tensor([0.999])).reward) == min(k, 2)
    found = kept.draw(torch.tensor([0.0, 0.34, 0.67, 0.999]))
    assert found.reward.tolist() == [3, 1, 2, 2]
    assert torch.equal(found.after, found.x + 1)


def test_a_branch_follows_the_model_and_begins_again_after_its_end() -> None:
    agent = build()
    moves(agent, 2.0)
    task = Task("t", reward=Quadratic("x", (1.0,), (0.0,)), terminal=Expression("x[0] > 5"))
    outcomes = Outcomes(agent.vectors, agent.codec, task)
    start = torch.tensor([[0.0], [4.0]])
    still = lambda x: torch.zeros(len(x), 1)  # noqa: E731
    found = branches(agent.dynamics, outcomes, start, still, 3, agent._generator)
    xs = torch.stack([f.x[:, 0] for f in found])
    # The least deviation that a member can think of is e^-5.
    torch.testing.assert_close(xs, torch.tensor([[0.0, 4], [2, 4], [4, 4]]), atol=0.1, rtol=0)
    assert [f.going_on.tolist() for f in found] == [[1, 0], [1, 0], [0, 0]]
    torch.testing.assert_close(found[0].reward, -(found[0].after[:, 0] ** 2))


def test_imagined_rows_are_transitions_like_others() -> None:
    agent = build()
    found = Experience(
        torch.tensor([[3.0]]), torch.tensor([[0.5]]), torch.tensor([[4.0]]),
        torch.tensor([7.0]), torch.tensor([0.5]),
    )  # fmt: skip
    batch = as_batch(found, agent._outcomes, 0.9)
    values = {k: t.item() for k, t in batch.items()}
    assert values == pytest.approx(
        {"x": 3.0, "action": 1.0, "next/x": 4.0, "return": 7.0, "discount": 0.45}
    )


@pytest.mark.parametrize("action", [ARM, spaces.Discrete(3)], ids=["sac", "dqn"])
def test_the_base_learns_from_both(action: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, given = build(action, real=0.25, warmup=1), []
    original = agent.base.train
    monkeypatch.setattr(agent.base, "train", lambda b: (given.append(b), original(b))[1])
    batch = batch_of(agent, action)
    agent.train(batch)
    assert len(given) == 1  # the model is not believed yet
    agent.train(batch)
    assert len(given) == 2 + 2
    for mixed in given[2:]:
        assert torch.equal(mixed["x"][:2], batch["x"][:2])
        starts = set(batch["x"].flatten().tolist())
        assert set(mixed["x"].flatten().tolist()) <= starts
        assert not torch.equal(mixed["next/x"][2:], batch["next/x"][2:])
        assert {k: t.dtype for k, t in mixed.items()} == {k: batch[k].dtype for k in mixed}


def test_too_little_room_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity"):
        build(capacity=4)
