"""Rows are drawn in proportion to their priorities, new ones soonest, and after a restart alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.agent import Learned, Transitions
from robot_client.schema import MAX_CHUNK_ROWS
from server.prefetch import Prefetcher
from server.replay.limiter import TrainLimiter
from server.replay.priorities import Priorities, SumTree
from server.replay.store import ReplayStore
from server.replay.transitions import TransitionSampler
from server.replay.view import ReplayView
from server.training import make_sampler
from tests.unit.replay_rows import STRIDE, Recorder


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def store(tmp_path: Path):
    store = ReplayStore(tmp_path / "replay")
    yield store
    store.close()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**32 - 1))
def test_the_tree_draws_what_a_running_sum_does(size: int, seed: int):
    tree, random = SumTree(size), rng(seed)
    plain = np.zeros(size)
    for _ in range(4):
        at = random.integers(0, size, 50)
        values = random.integers(0, 5, 50).astype(float)  # whole numbers: sums are exact
        tree.set(at, values)
        plain[at] = values
    assert tree.total == plain.sum()
    np.testing.assert_array_equal(tree[np.arange(size)], plain)
    if plain.any():
        shares = np.append(random.random(64), [0.0, np.nextafter(1.0, 0.0)])
        expected = np.searchsorted(plain.cumsum(), shares * plain.sum(), side="right")
        np.testing.assert_array_equal(tree.draw(shares), expected)


def test_rounding_never_draws_a_row_of_no_priority():
    tree = SumTree(100)
    tree.set(np.arange(3), np.array([0.1, 0.2, 0.3]))
    drawn = tree.draw(np.array([0.0, 1 - 1e-16, 1.0]))
    assert (tree[drawn] > 0).all()


def test_new_rows_are_as_likely_as_the_likeliest_and_the_rest_by_their_power(store: ReplayStore):
    store.commit(Recorder().chunks(11))
    view = ReplayView(store)
    view.refresh()
    priorities = Priorities(view, 0.5)
    priorities.update(np.arange(4), np.array([4.0, 16.0, 0.0, 1.0]))
    expected = np.array([2, 4, 1e-3, 1, *[1.0] * 6])  # those not seen keep what they came with
    drawn, chance = priorities.draw(200_000, rng())
    counts = np.bincount(drawn, minlength=10) / len(drawn)
    np.testing.assert_allclose(counts, expected / expected.sum(), atol=2e-3)
    np.testing.assert_allclose(chance, (10 * expected / expected.sum())[drawn], rtol=1e-5)
    store.commit(Recorder(1).chunks(3))
    view.refresh()
    drawn, _ = priorities.draw(200_000, rng())
    counts = np.bincount(drawn, minlength=14)
    assert counts[10] == counts[13] == 0  # the last row of an episode has no successor
    assert counts[11] == pytest.approx(counts[1], rel=0.02)


def test_the_newest_row_of_an_episode_is_drawn_once_it_has_a_successor(store: ReplayStore):
    recorder, view = Recorder(), ReplayView(store)
    chunks = recorder.chunks(9, chunk=3)
    priorities = Priorities(view, 1.0)
    for chunk, usable in zip(chunks, (2, 5, 8), strict=True):
        store.commit([chunk])
        view.refresh()
        drawn, _ = priorities.draw(500, rng())
        assert sorted(set(drawn.tolist())) == list(range(usable))


def test_rows_that_fell_out_of_the_view_are_drawn_no_more(store: ReplayStore):
    recorder, view = Recorder(), ReplayView(store, capacity=MAX_CHUNK_ROWS)
    priorities = Priorities(view, 1.0)
    for _ in range(7):
        store.commit(recorder.chunks(20))
        view.refresh()
        rows, chance = priorities.draw(2000, rng())
        assert rows.min() >= view.tail
        assert rows.max() < view.head - 1
        priorities.update(rows[:5], np.full(5, 3.0))
        priorities.update(np.array([view.tail - 1]), np.array([1e9]))
        usable = (view.after(np.arange(view.tail, view.head)) >= 0).sum()
        assert np.unique(rows).size <= usable
        np.testing.assert_allclose((1 / chance).mean(), 1, rtol=0.05)


def test_discarded_episodes_are_not_drawn(store: ReplayStore):
    recorder, view = Recorder(), ReplayView(store)
    store.commit(recorder.chunks(10) + recorder.chunks(10))
    store.discard("robot-0", "boot-0", 0)
    view.refresh()
    assert Priorities(view, 1.0).draw(500, rng())[0].min() >= 10


def test_weights_undo_what_priorities_distort(store: ReplayStore):
    store.commit(Recorder().chunks(51))
    view = ReplayView(store)
    view.refresh()
    priorities = Priorities(view, 0.7)
    priorities.update(np.arange(50), rng(1).random(50) * 9)
    rows, chance = priorities.draw(100_000, rng())
    assert (rows / chance).mean() == pytest.approx(np.arange(50).mean(), rel=0.02)


def test_a_restored_sampler_draws_on_alike(store: ReplayStore):
    recorder, view = Recorder(), ReplayView(store, capacity=100)
    sampler = TransitionSampler(view, 8, 2, 0.9, rng(), priority=0.6)
    noise = rng(5)

    def step(one: TransitionSampler) -> dict:
        batch = one.sample()
        assert batch is not None
        return batch

    for _ in range(12):
        store.commit(recorder.chunks(17, ends="cut"))
        view.refresh()
        batch = step(sampler)
        sampler.prioritise(batch["row_id"], noise.random(8).astype(np.float32) * 7)
    other = TransitionSampler(view, 8, 2, 0.9, rng(1), priority=0.6)
    other.restore(json.loads(json.dumps(sampler.state())))
    for _ in range(8):
        store.commit(recorder.chunks(17, ends="cut"))
        view.refresh()
        one, two = step(sampler), step(other)
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])
        new = noise.random(8).astype(np.float32)
        sampler.prioritise(one["row_id"], new)
        other.prioritise(two["row_id"], new)


def test_the_learner_tells_the_sampler_of_priorities(store: ReplayStore):
    store.commit(Recorder().chunks(41))
    view = ReplayView(store, 100)
    sampler = make_sampler(Transitions(8, priority=1.0), view, 0)
    assert isinstance(sampler, TransitionSampler)
    batches = Prefetcher(view, sampler, TrainLimiter(400.0, 8, 1, 10_000), torch.device("cpu"))
    seen: list[int] = []
    try:
        for _ in range(60):
            got = batches.get(30)
            assert got is not None
            tensors, rows = got
            wanted = (tensors["step"][:, 0] % STRIDE == 7).float() * 50  # one row matters
            batches.write_back(rows, Learned({}, priority=wanted))
            seen += rows.tolist()
    finally:
        batches.close()
    assert np.mean(np.array(seen[-160:]) == 7) > 0.9
