"""Goals put in afterwards are those of the row's own future, and rewards are those of the goals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_client.rewards import Distance, Expression, Goals, Within
from robot_client.schema import Chunk, Task
from server.errors import Invalid
from server.replay.goals import GoalSampler
from server.replay.store import ReplayStore
from server.replay.view import ReplayView
from tests.oracle_cases import load
from tests.unit.replay_rows import STRIDE, rows

REACH = Task("reach", reward=Distance("achieved", "desired"), goals=Goals("achieved", "desired"))
TOUCH = Task(
    "touch",
    reward=Within("achieved", "desired", 0.5),
    goals=Goals("achieved", "desired", within=0.5, ends=True),
)
FAR = -1e6  # the goal that was wanted


def fill(store: ReplayStore, lengths: list[int], terminal: bool = False) -> None:
    """Episodes in which step is achieved, and something far was wanted."""
    seq = 0
    for number, length in enumerate(lengths):
        columns = rows(number, 0, length, last=True, terminal=terminal)
        columns["achieved"] = columns["step"]
        columns["desired"] = np.full_like(columns["step"], FAR)
        store.commit([("robot-0", Chunk("boot", number, seq, columns))])
        seq += length


def sampler(store: ReplayStore, task: Task = REACH, n: int = 1, batch: int = 64, **how):
    view = ReplayView(store)
    view.refresh()
    return GoalSampler(view, batch, n, 0.9, np.random.default_rng(0), task=task, **how)


@pytest.fixture
def store(tmp_path: Path):
    store = ReplayStore(tmp_path / "replay")
    yield store
    store.close()


def test_future_goals_are_distributed_as_in_the_golden_case(store: ReplayStore):
    inputs, outputs, _ = load("8_other_algorithms", "her_future_T8")
    length, share = int(inputs["T"]), float(outputs["prob_relabelled"])
    fill(store, [length + 1] * 3)
    draws = sampler(store, relabelled=share, batch=24)
    counts, kept, total = np.zeros((length, length + 1)), 0, 0
    for _ in range(1500):
        batch = draws.sample()
        at = batch["step"][:, 0].astype(int)
        goal = batch["desired"][:, 0]
        np.testing.assert_array_equal(batch["next/desired"][:, 0], goal)
        own = goal == FAR
        kept, total = kept + own.sum(), total + len(own)
        assert (goal[~own].astype(int) // STRIDE == at[~own] // STRIDE).all()
        np.add.at(counts, (at[~own] % STRIDE, goal[~own].astype(int) % STRIDE), 1)
        expected = np.where(own, batch["next/step"][:, 0], -np.abs(at + 1 - goal))
        np.testing.assert_allclose(batch["return"], expected)
    assert 1 - kept / total == pytest.approx(share, abs=4 * (share * (1 - share) / total) ** 0.5)
    found = counts / counts.sum(1, keepdims=True)
    np.testing.assert_allclose(found, outputs["prob_goal_index_given_t"], atol=0.03)
    assert not found[outputs["prob_goal_index_given_t"] == 0].any()


def test_final_goals_are_the_episodes_last_and_episode_goals_any(store: ReplayStore):
    fill(store, [6, 9])
    ends = {0: 5, 1: 8}
    batch = sampler(store, relabelled=1.0, strategy="final", batch=12).sample()
    for step, goal in zip(batch["step"][:, 0].astype(int), batch["desired"][:, 0], strict=True):
        assert goal == step // STRIDE * STRIDE + ends[step // STRIDE]
    draws = sampler(store, relabelled=1.0, strategy="episode", batch=12)
    seen = {
        (int(s) % STRIDE, int(g) % STRIDE)
        for _ in range(200)
        for b in [draws.sample()]
        for s, g in zip(b["step"][:, 0], b["desired"][:, 0], strict=True)
        if s < STRIDE
    }
    assert seen == {(t, g) for t in range(5) for g in range(6)}


@pytest.mark.parametrize("n", [1, 3])
def test_where_a_goal_ends_the_episode_a_new_one_does_when_it_is_reached(
    store: ReplayStore, n: int
):
    fill(store, [9], terminal=True)  # it reached what it wanted, which a new goal knows nothing of
    draws = sampler(store, TOUCH, n=n, relabelled=1.0, batch=8)
    for _ in range(60):
        batch = draws.sample()
        step, goal = batch["step"][:, 0].astype(int), batch["desired"][:, 0].astype(int)
        taken = np.minimum(goal - step, np.minimum(n, 8 - step))
        reached = goal - step <= n
        np.testing.assert_array_equal(batch["next/step"][:, 0], step + taken)
        np.testing.assert_allclose(batch["discount"], np.where(reached, 0, 0.9**taken))
        expected = [-sum(0.9**k for k in range(t - r)) for t, r in zip(taken, reached, strict=True)]
        np.testing.assert_allclose(batch["return"], expected, rtol=1e-6)


def test_a_goal_that_is_reached_already_is_not_put_in(store: ReplayStore):
    columns = rows(0, 0, 9, last=True)
    columns["achieved"] = np.zeros_like(columns["step"])
    columns["desired"] = np.full_like(columns["step"], FAR)
    store.commit([("robot-0", Chunk("boot", 0, 0, columns))])
    batch = sampler(store, TOUCH, relabelled=1.0, batch=8).sample()
    assert (batch["desired"] == FAR).all()


def test_rows_keep_their_own_goal_reward_and_end_where_nothing_is_put_in(store: ReplayStore):
    fill(store, [9], terminal=True)
    batch = sampler(store, TOUCH, relabelled=0.0, batch=8).sample()
    np.testing.assert_array_equal(batch["return"], batch["next/step"][:, 0])
    np.testing.assert_array_equal(batch["discount"] == 0, batch["next/step"][:, 0] == 8)


def test_a_robot_that_declares_no_goals_is_refused(store: ReplayStore):
    for task in (None, Task("walk"), Task("walk", goals=Goals())):
        with pytest.raises(Invalid, match="goals and a reward"):
            sampler(store, task)


def test_what_is_declared_terminal_ends_the_episode_under_any_goal(store: ReplayStore):
    """The episode is over at step 5, as the task says; a new goal beyond changes nothing of it."""
    fill(store, [9])
    over = replace(REACH, terminal=Expression("achieved[0] >= 5"))
    draws = sampler(store, over, n=3, relabelled=1.0, batch=8)
    for _ in range(40):
        batch = draws.sample()
        step = batch["step"][:, 0].astype(int)
        until = np.where(step < 5, 5 - step, 1)
        taken = np.minimum(until, np.minimum(3, 8 - step))
        np.testing.assert_array_equal(batch["next/step"][:, 0], step + taken)
        np.testing.assert_allclose(batch["discount"], np.where(until <= 3, 0, 0.9**taken))
