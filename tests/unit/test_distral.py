"""Distral by hand: its policies and values, what it learns from, and whom it shows what."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.agent import Tensors
from agents.blocks.lookup import Lookup
from agents.distral import Distral, DistralConfig, drawn_policy, soft_value
from agents.testing import random_batch
from robot_client.schema import task_code
from server.lockstep import preset, run
from tests.oracle_cases import cases, close, load, tensors

ORACLE = "8_other_algorithms"
SEEN = spaces.Dict({"obs": spaces.Discrete(3)})
ACTIONS = spaces.Discrete(2)
TABLE = preset("distral", "table") | {"batch_size": 2, "tasks": 2, "floor": 0.0}


def make(**config: object) -> Distral:
    torch.manual_seed(0)
    filled = DistralConfig.model_validate({**TABLE, **config})
    return Distral(SEEN, ACTIONS, filled, torch.device("cpu"))


def batch_of(agent: Distral, *tasks: str) -> Tensors:
    """A row of each task: in square 0 the first action earned 1, and led to square 1."""
    batch = random_batch(agent, SEEN, ACTIONS, torch.Generator().manual_seed(0))
    rows = len(tasks)
    batch |= {
        "obs": torch.zeros(rows, dtype=torch.int64),
        "next/obs": torch.ones(rows, dtype=torch.int64),
        "action": torch.zeros(rows, dtype=torch.int64),
        "return": torch.ones(rows),
        "discount": torch.full((rows,), 0.9),
        "policy/task": torch.stack([torch.from_numpy(task_code(task)) for task in tasks]),
        "policy/previous": torch.zeros(rows, 2),
    }
    return batch


def set_value(agent: Distral, task: int, square: int, values: list[float]) -> None:
    with torch.no_grad():  # the first three rows are of no task
        agent.minds.values.rows[3 * (task + 1) + square] = torch.tensor(values)
        agent.slow.net.rows[3 * (task + 1) + square] = torch.tensor(values)


def step_of(
    agent: Distral, task: str, square: int, previous: int = 0, first: bool = False
) -> tuple[int, Tensors]:
    inputs = {
        "in_obs": torch.tensor([square]),
        "in_prev_action": torch.tensor([previous]),
        "in_is_first": torch.tensor([first]),
        "in_task_code": torch.from_numpy(task_code(task))[None],
        "in_noise_sample": torch.zeros(1, 2),
        "in_noise_explore": torch.zeros(1, 2),
    }
    found = agent.acting().graphs["policy"](inputs)
    return int(found["out_action"]), found


def test_two_columns_by_hand() -> None:
    shared, values = torch.tensor([0.25, 0.75]).log(), torch.tensor([1.0, 0.5])
    # 0.25**0.5 exp(2 * 1) and 0.75**0.5 exp(2 * 0.5), which add up to 6.0486
    weights = [0.5 * math.exp(2), math.sqrt(0.75) * math.exp(1)]
    policy = drawn_policy(values, shared, alpha=0.5, beta=2.0)
    assert policy.exp().tolist() == pytest.approx([w / sum(weights) for w in weights])
    value = float(soft_value(values, policy, shared, 0.5, 2.0))
    assert value == pytest.approx(math.log(sum(weights)) / 2)


@pytest.mark.parametrize("case", cases(ORACLE, "distral"))
def test_policies_and_values_equal_the_golden_ones(case: str) -> None:
    inputs, outputs, _ = load(ORACLE, case)
    x, alpha, beta = tensors(inputs), float(outputs["alpha"]), float(outputs["beta"])
    shared = torch.log_softmax(x["h"], -1)
    policy = drawn_policy(x["q"], shared, alpha, beta)
    close(policy.exp(), outputs["policy"])
    close(soft_value(x["q"], policy, shared, alpha, beta), outputs["soft_value"])
    close(drawn_policy(x["f"], shared, alpha, beta).exp(), outputs["two_column_policy"])


@pytest.mark.parametrize("case", cases(ORACLE, "distral"))
def test_what_is_shared_moves_in_the_golden_direction(case: str) -> None:
    """By one step of size 1 on a table, in which each row of the case is a square."""
    inputs, outputs, _ = load(ORACLE, case)
    x, alpha, beta = tensors(inputs), float(outputs["alpha"]), float(outputs["beta"])
    squares, n = x["h"].shape
    seen, actions = spaces.Dict({"obs": spaces.Discrete(squares)}), spaces.Discrete(n)
    settings = {"alpha": alpha, "beta": beta, "previous": False}
    settings |= {"learning_rate": 1e-9, "shared_learning_rate": 1.0, "batch_size": squares}
    config = DistralConfig.model_validate({**TABLE, **settings})
    agent = Distral(seen, actions, config, torch.device("cpu"))
    logits = agent.minds.shared.logits
    assert isinstance(logits, Lookup)
    with torch.no_grad():
        logits.rows.copy_(x["h"])
        agent.minds.values.rows[squares : 2 * squares] = x["f"].float()  # of the first task
    batch = random_batch(agent, seen, actions, torch.Generator().manual_seed(0))
    batch |= {"obs": torch.arange(squares)}
    batch["policy/task"] = torch.from_numpy(task_code("left")).repeat(squares, 1)
    agent.train(batch)
    moved = (logits.rows - x["h"]) * alpha / beta
    close(moved, outputs["distillation_gradient_h"], rtol=1e-5, atol=1e-6)


def test_the_value_counts_what_leaving_the_shared_policy_costs() -> None:
    shared, values = torch.tensor([0.25, 0.75]).log(), torch.tensor([1.0, 0.5])
    policy = torch.tensor([0.5, 0.5]).log()
    # 0.75 on average, alpha / beta of log p_0 and 1 / beta of the entropy, log 2
    expected = 0.75 + 0.25 * 0.5 * (math.log(0.25) + math.log(0.75)) + 0.5 * math.log(2)
    assert float(soft_value(values, policy, shared, 0.5, 2.0)) == pytest.approx(expected)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_no_other_policy_is_worth_more_than_the_drawn_one(alpha: float) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(5, 3, generator=generator)
    shared = torch.log_softmax(torch.randn(5, 3, generator=generator), -1)
    best = soft_value(values, drawn_policy(values, shared, alpha, 5.0), shared, alpha, 5.0)
    for _ in range(50):
        other = torch.log_softmax(2 * torch.randn(5, 3, generator=generator), -1)
        assert (soft_value(values, other, shared, alpha, 5.0) <= best + 1e-6).all()


def test_the_target_has_the_soft_value_of_the_next_square_in_its_task() -> None:
    agent = make(alpha=0.5, beta=2.0)
    batch = batch_of(agent, "left", "right")
    for code in batch["policy/task"]:
        agent.minds.book.take_in(code[None])
    set_value(agent, 1, 1, [1.0, 0.5])
    half = math.sqrt(0.5)  # the shared policy is uniform at first
    worth = math.log(half * math.exp(2) + half * math.exp(1)) / 2
    nothing = math.log(2 * half) / 2
    found = agent.target(batch, agent.minds.book(batch["policy/task"]))
    assert found.tolist() == pytest.approx([1 + 0.9 * nothing, 1 + 0.9 * worth])


def test_one_column_is_drawn_to_what_two_would_do() -> None:
    agent = make(columns="one", alpha=0.5, beta=2.0)
    batch = batch_of(agent, "left")
    agent.minds.book.take_in(batch["policy/task"])
    task = agent.minds.book(batch["policy/task"])
    set_value(agent, 0, 0, [1.0, 0.0])
    shared = torch.tensor([[0.5, 0.5]]).log()
    best = torch.softmax(torch.tensor([2.0, 0.0]), 0)
    expected = float((0.5 * (0.5 / best).log()).sum())  # KL of the uniform policy from it
    loss = agent.own_loss(batch, task, shared, torch.ones(1))
    assert float(loss.detach()) == pytest.approx(expected)
    for _ in range(200):
        agent.train(batch)
    policy = agent.minds.policy(batch, task, shared)
    aim = drawn_policy(
        agent.minds.values(batch, task), agent.minds.shared(batch, torch.zeros(1, 2)), 0.5, 2.0
    )
    assert policy.exp().tolist()[0] == pytest.approx(aim.exp().tolist()[0], abs=0.01)


def test_the_shared_policy_comes_to_the_mean_of_the_tasks() -> None:
    agent = make(learning_rate=1e-9, alpha=0.0, beta=1.0)
    batch = batch_of(agent, "left", "right")
    for code in batch["policy/task"]:
        agent.minds.book.take_in(code[None])
    set_value(agent, 0, 0, [3.0, 0.0])
    set_value(agent, 1, 0, [0.0, 1.0])
    for _ in range(300):
        agent.train(batch)
    mean = (
        torch.softmax(torch.tensor([3.0, 0.0]), 0) + torch.softmax(torch.tensor([0, 1.0]), 0)
    ) / 2
    found = agent.minds.shared(batch, torch.zeros(2, 2)).exp()[0]
    assert found.tolist() == pytest.approx(mean.tolist(), abs=0.01)


def test_robots_act_by_their_task_and_strangers_by_what_is_shared() -> None:
    agent = make(beta=5.0, alpha=0.5)
    for name in ("left", "right"):
        agent.minds.book.take_in(torch.from_numpy(task_code(name))[None])
    set_value(agent, 0, 0, [1.0, 0.0])
    set_value(agent, 1, 0, [0.0, 1.0])
    with torch.no_grad():  # the shared policy goes on as before: with the last action
        agent.minds.shared.logits.rows[3 * (1 + 1), 1] = 0.1
        agent.minds.shared.logits.rows[3 * (0 + 1), 0] = 0.1
    assert [step_of(agent, name, 0)[0] for name in ("left", "right")] == [0, 1]
    assert [step_of(agent, "new", 0, previous)[0] for previous in (0, 1)] == [0, 1]
    assert step_of(agent, "", 0, previous=1)[0] == 1
    assert step_of(agent, "new", 0, previous=1, first=True)[0] == 0  # all alike: the first


def test_a_value_moves_by_the_mean_of_the_visits_and_no_other_does() -> None:
    agent = make(learning_rate=0.5, alpha=1.0)  # the shared policy is uniform: squares are worth 0
    batch = batch_of(agent, "left", "left", "right")
    batch["return"] = torch.tensor([1.0, 3.0, 5.0])
    for code in batch["policy/task"]:
        agent.minds.book.take_in(code[None])
    agent.train(batch)
    expected = torch.zeros(9, 2)  # by no task, left and right, three squares each
    expected[3, 0], expected[6, 0] = 0.5 * 2, 0.5 * 5
    assert torch.allclose(agent.minds.values.rows, expected)
    agent.train(batch)
    expected[3, 0], expected[6, 0] = 1.5, 3.75
    assert torch.allclose(agent.minds.values.rows, expected)


def test_a_table_comes_to_the_exact_soft_values() -> None:
    """A ring of three squares: values of one task and a uniform shared policy, which have a
    fixed point that can be iterated to."""
    agent = make(floor=1.0, beta=5.0, discount=0.8, batch_size=16, learning_rate=0.5)
    reward = torch.tensor([[1.0, -0.1], [-0.1, 0.3], [0.2, -0.5]])
    wanted = torch.zeros(3, 2)
    for _ in range(500):
        worth = ((5 * wanted).exp().mean(-1)).log() / 5
        wanted = reward + 0.8 * torch.stack([worth.roll(-1), worth.roll(1)], -1)
    batch = batch_of(agent, *["left"] * 16)
    generator = torch.Generator().manual_seed(2)
    for _ in range(200):
        square = torch.randint(3, (16,), generator=generator)
        action = torch.randint(2, (16,), generator=generator)
        after = (square + 1 - 2 * action) % 3
        batch["discount"] = torch.full((16,), 0.8)
        batch |= {"obs": square, "action": action, "next/obs": after}
        agent.train(batch | {"return": reward[square, action]})
    assert torch.allclose(agent.minds.values.rows[3:6], wanted, atol=0.002)


def test_a_shared_policy_that_is_uniform_shares_nothing() -> None:
    agent = make(floor=1.0)
    batch = batch_of(agent, "left", "right")
    batch["return"] = torch.tensor([1.0, -1.0])
    for _ in range(20):
        agent.train(batch)
    found = agent.minds.shared(batch, torch.zeros(2, 2)).exp()
    assert torch.allclose(found, torch.full((2, 2), 0.5))


@pytest.mark.parametrize("previous", [True, False])
def test_a_shared_table_has_a_row_for_each_square_and_last_action(previous: bool) -> None:
    table = make(previous=previous).minds.shared.logits
    squares, lasts = torch.arange(3).repeat(3), torch.eye(3).repeat_interleave(3, 0)[:, 1:]
    places = table.place({"obs": squares}, lasts if previous else lasts[:, :0])
    assert len(set(places.tolist())) == (9 if previous else 3) == len(table.rows)


def test_networks_are_made_where_tables_are_not_wanted() -> None:
    agent = make(tables=False, widths=(8,), shared_widths=(8,), learning_rate=0.01)
    batch = batch_of(agent, "left", "right")
    first = agent.train(batch).metrics["loss/values"]
    for _ in range(50):
        last = agent.train(batch).metrics["loss/values"]
    assert float(last) < 0.2 * float(first)


def test_rows_of_no_task_teach_nothing_and_a_full_book_takes_no_more() -> None:
    agent = make()
    before = {k: v.clone() for k, v in agent.minds.values.state_dict().items()}
    learned = agent.train(batch_of(agent, "", ""))
    assert float(learned.metrics["tasks"]) == 0
    after = agent.minds.values.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    for name in ("a", "b", "c", "a"):
        learned = agent.train(batch_of(agent, name, name))
    assert float(learned.metrics["tasks"]) == 2
    codes = torch.stack([torch.from_numpy(task_code(n)) for n in ("a", "b", "c", "")])
    assert agent.minds.book(codes).tolist() == [[1, 0], [0, 1], [0, 0], [0, 0]]


def test_a_task_has_one_code_of_exact_numbers() -> None:
    codes = {tuple(task_code(f"task {k}").tolist()) for k in range(1000)}
    assert len(codes) == 1000
    assert not task_code("").any()
    scaled = task_code("walk") * 2**16
    assert (scaled == np.round(scaled)).all()


FORKS = [f'tests.unit.fork:Fork {{"way": "{way}"}}' for way in ("left", "right")]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("columns", ["one", "two"])
def test_two_tasks_are_learned_in_lockstep(columns: str) -> None:
    """One replay, one corridor, and two ways to go at its end."""
    result = run(
        "distral",
        robots=FORKS,
        steps=1200,
        config=preset("distral", "table") | {"columns": columns, "batch_size": 32},
        train_ratio=16.0,
        min_rows=64,
        max_debt=64,
        device="cpu",
        eval_episodes=1,
    )
    found = {r["task"]: r["evaluation_mean"] for r in result["robots"].values()}
    assert found == {"left": pytest.approx(0.5), "right": pytest.approx(0.5)}
