"""Dyna-Q by hand, its models, its fixed point, and what planning does in a maze."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.agent import Arrivals, Tensors, Transitions
from agents.blocks.cells import Cells
from agents.blocks.tables import TableModel
from agents.dyna_q import DynaQ, DynaQConfig
from agents.errors import UnsupportedSpace
from server.lockstep import run

SEEN = spaces.Dict(state=spaces.Discrete(3))
CPU = torch.device("cpu")


def build(actions: int = 2, seen: spaces.Dict = SEEN, **config: Any) -> DynaQ:
    torch.manual_seed(0)
    full = DynaQConfig.model_validate({"learning_rate": 0.5, "discount": 0.9, "steps": 0, **config})
    return DynaQ(seen, spaces.Discrete(actions), full, CPU)


def rows(*transitions: tuple[int, int, float, int, float]) -> Tensors:
    """Of state, action, reward, next state and discount."""
    state, action, reward, after, discount = zip(*transitions, strict=True)
    return {
        "state": torch.tensor(state),
        "action": torch.tensor(action),
        "return": torch.tensor(reward),
        "next/state": torch.tensor(after),
        "discount": torch.tensor(discount),
    }


def test_the_direct_update_is_q_learnings() -> None:
    agent = build()
    agent.table.move(1 * 2 + 1, 4.0)  # Q(1, 1)
    learned = agent.train(rows((0, 1, 1.0, 1, 0.9), (1, 1, 2.0, 2, 0.0)))
    # Half of 1 + 0.9 * 4; then half of the way from 4 to 2, for what comes next is the end.
    assert agent.table.rows.tolist() == pytest.approx(
        np.array([[0, 2.3], [0, 3.0], [0, 0]]), abs=1e-6
    )
    assert learned.metrics["error"].item() == pytest.approx((4.6 + 2.0) / 2)
    assert agent.table.best.tolist() == pytest.approx([2.3, 3.0, 0.0])


def test_planning_repeats_what_the_model_says() -> None:
    agent = build(steps=3)
    agent.train(rows((0, 1, 1.0, 0, 0.0)))
    # One pair is known: the direct update and three planned ones close half the gap each.
    assert agent.table.rows[0, 1] == pytest.approx(1 - 0.5**4)


def test_planning_reaches_only_pairs_that_were_seen() -> None:
    agent = build(steps=50)
    agent.train(rows((0, 1, 1.0, 1, 0.9), (1, 0, 1.0, 2, 0.0)))
    assert (agent.table.rows != 0).tolist() == [[False, True], [True, False], [False, False]]
    assert agent.table.rows[0, 1] == pytest.approx(1.9, abs=1e-3)


def test_a_deterministic_model_says_what_was_last() -> None:
    model = TableModel(2, 1)
    best = np.array([0.0, 10.0, 20.0], np.float32)
    for reward, after in ((1.0, 1), (3.0, 2)):
        model.learn(0, reward, after, 0.5)
    assert model.expected(0, best) == pytest.approx(3 + 0.5 * 20)


def test_a_stochastic_model_weighs_what_it_has_seen() -> None:
    model = TableModel(2, 2)
    best = np.array([0.0, 10.0, 20.0], np.float32)
    for reward, after in ((1.0, 1), (3.0, 1), (0.0, 2), (2.0, 1)):
        model.learn(0, reward, after, 0.5)
    assert model.expected(0, best) == pytest.approx(0.75 * (2 + 5) + 0.25 * 10)
    assert model.before(1) == [0]
    model.learn(0, 0.0, 0, 0.0)  # makes the rarest go
    assert model.before(2) == []


def test_the_bonus_grows_with_the_time_since_the_last_try() -> None:
    agent = build(steps=1, bonus=0.1, learning_rate=1.0)
    agent.model.learn(0, 2.0, 2, 0.0)
    agent.model.numbers[1] = 10  # nine more transitions have been seen
    agent._plan()
    assert agent.table.rows[0, 0] == pytest.approx(2 + 0.1 * 9**0.5)


def test_the_bonus_lets_untried_actions_be_imagined() -> None:
    agent = build(actions=3, steps=200, bonus=0.1)
    agent.train(rows((0, 1, 0.0, 2, 0.0)))
    assert agent.model.size == 3
    # Time is 1: what was just tried has no bonus, the others lead back to their state.
    value = 0.1 / (1 - 0.9)
    assert agent.table.rows[0].tolist() == pytest.approx([value, 0.0, value], abs=0.05)


def test_sweeping_goes_backwards_from_where_the_error_is() -> None:
    agent = build(steps=3, sweep=1e-3, learning_rate=1.0)
    agent.train(rows((0, 0, 0.0, 1, 0.9), (1, 0, 0.0, 2, 0.9)))
    assert not agent.table.rows.any()
    agent.train(rows((2, 0, 1.0, 0, 0.0)))
    assert agent.table.rows[:, 0].tolist() == pytest.approx([0.81, 0.9, 1.0])


@pytest.mark.parametrize("options", [{}, {"sweep": 1e-6, "steps": 8}], ids=["dyna", "sweeping"])
def test_values_converge_to_the_optimal_ones(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    chances, rewards = rng.dirichlet(np.ones(3), (3, 2)), rng.normal(size=(3, 2))
    counts = np.maximum(1, np.round(chances * 10)).astype(int)
    chances = counts / counts.sum(-1, keepdims=True)
    optimal = np.zeros((3, 2))
    for _ in range(500):
        optimal = rewards + 0.9 * chances @ optimal.max(1)
    agent = build(outcomes=3, steps=20, **options) if not options else build(outcomes=3, **options)
    pairs = [(s, a, after) for s in range(3) for a in range(2) for after in range(3)]
    each = [
        (s, a, float(rewards[s, a]), t, 0.9) for s, a, t in pairs for _ in range(counts[s, a, t])
    ]
    agent.train(rows(*each))
    if options:
        for _ in range(600):
            agent._sweep()
    else:
        for _ in range(150):
            agent._plan()
    np.testing.assert_allclose(agent.table.rows, optimal, atol=1e-3)


def test_equal_values_are_all_chosen_and_evaluation_takes_the_first() -> None:
    agent = build(actions=3, random_share=0.0)
    agent.train(rows((0, 0, -1.0, 0, 0.0)))
    policy = agent.acting().graphs["policy"]
    inputs = {"in_state": torch.tensor([0]), "in_noise_explore": torch.zeros(1, 2)}
    ties = torch.rand(50, 1, 3, generator=torch.Generator().manual_seed(0))
    found = {int(policy({**inputs, "in_noise_ties": t})["out_action"]) for t in ties}
    assert found == {1, 2}
    assert policy({**inputs, "in_noise_ties": torch.zeros(1, 3)})["out_action"].item() == 1


def test_numbers_are_cut_into_bins() -> None:
    box = spaces.Box(np.array([-1, -np.inf], np.float32), np.array([1, np.inf], np.float32))
    cells = Cells(spaces.Dict(a=spaces.Discrete(2), b=box), bins=4, limit=2.0)
    assert cells.n == 2 * 4 * 4
    b = torch.tensor([[-1.0, -9.0], [0.99, 0.1], [0.0, 9.0]])
    # a + 2 * (first + 4 * second)
    assert cells({"a": torch.tensor([1, 0, 0]), "b": b}).tolist() == [1, 2 * (3 + 8), 2 * (2 + 12)]


def test_what_a_table_cannot_hold_is_refused() -> None:
    wide = spaces.Dict(x=spaces.Box(-1, 1, (12,), np.float32))
    with pytest.raises(UnsupportedSpace, match="at most 1048576 cells"):
        build(seen=wide)
    with pytest.raises(ValueError, match="bonus"):
        DynaQConfig.model_validate({"bonus": 0.1, "sweep": 0.1})
    with pytest.raises(ValueError, match="steps"):
        DynaQConfig.model_validate({"replayed": True})


def test_replayed_transitions_are_the_control() -> None:
    assert isinstance(build().demand, Arrivals)
    assert type(build(replayed=True, batch_size=6).demand) is Transitions


def test_it_learns_the_maze() -> None:
    result = run(
        "dyna-q",
        "gym:dreamfleet/DynaMaze-v0",
        steps=4000,
        episodes=16,
        seed=2,
        config={"steps": 20},
        train_ratio=1.0,
        min_rows=1,
        device="cpu",
        eval_episodes=0,
    )
    ends = [0, *(rows for rows, _ in result["curve"])]
    lengths = [after - before - 1 for before, after in pairwise(ends)]
    assert np.mean(lengths[-5:]) < 30, lengths  # the shortest way has 14 steps
