"""Batches tell the truth about which row follows which, on data that count."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_client.bundle import TensorSpec
from robot_client.schema import MAX_CHUNK_ROWS, NO_POLICY, Columns
from server.errors import ReplayError
from server.replay.limiter import TrainLimiter
from server.replay.sampler import OnPolicyQueue, SequenceSampler
from server.replay.store import ReplayStore
from server.replay.transitions import TransitionSampler
from server.replay.view import ReplayView
from tests.unit.replay_rows import STRIDE, Recorder

EXTRAS = {"h": TensorSpec("float32", (3,))}
EPISODES = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from(["last", "terminal", "cut"])), min_size=1
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def store(tmp_path: Path):
    store = ReplayStore(tmp_path / "replay")
    yield store
    store.close()


def check_windows(batch: Columns, ends: dict[int, int]) -> None:
    """Every row follows its left neighbour, or begins a segment after one that is_last."""
    steps = batch["step"][..., 0].astype(int)
    for window, first, last in zip(steps, batch["is_first"], batch["is_last"], strict=True):
        for t, step in enumerate(window):
            assert first[t] or t == 0 or step == window[t - 1] + 1
            assert not (t and first[t]) or last[t - 1]
            assert not last[t] or t == len(window) - 1 or first[t + 1]
            if step == ends.get(step // STRIDE):
                assert last[t]
    np.testing.assert_array_equal(batch["camera"][..., 0, 0, 0], steps % 251)
    np.testing.assert_array_equal(batch["reward"], steps)
    before = batch["prev_action"][:, 0]
    expected = np.where(steps[:, 0] % STRIDE == 0, 0, steps[:, 0] - 0.5)
    np.testing.assert_array_equal(before, expected)


@settings(max_examples=40, deadline=None)
@given(EPISODES, st.integers(1, 7), st.integers(1, 9), st.booleans())
def test_no_window_crosses_an_episode(tmp_path_factory, episodes, chunk, length, online):
    store = ReplayStore(tmp_path_factory.mktemp("replay"))
    view = ReplayView(store)
    sampler = SequenceSampler(view, 4, length, (), rng(), online)
    recorder = Recorder(image=16)
    ends: dict[int, int] = {}
    for number, (rows, how) in enumerate(episodes):
        store.commit(recorder.chunks(rows, chunk, how))
        view.refresh()
        ends[number] = number * STRIDE + rows - 1
        running = {number: -1} if how == "cut" else {}
        batch = sampler.sample()
        assert (batch is None) == (view.head < length)
        if batch is not None:
            check_windows(batch, ends | running)
    store.close()


def test_every_row_is_equally_likely_everywhere(store: ReplayStore):
    recorder = Recorder(image=16)
    for rows in (1, 3, 40, 7, 9):
        store.commit(recorder.chunks(rows))
    view = ReplayView(store)
    view.refresh()
    sampler = SequenceSampler(view, 64, 16, (), rng(), online=False)
    ids = np.concatenate([sampler.sample()["row_id"] for _ in range(150)])
    for place in (0, 7, 15):
        counts = np.bincount(ids[:, place], minlength=60)
        expected = len(ids) / 60
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert chi_square < 120, (place, chi_square)  # 59 degrees of freedom: p < 1e-5


def test_fresh_rows_are_served_once_and_at_most_half_of_a_batch(store: ReplayStore):
    view = ReplayView(store)
    recorders = [Recorder(i) for i in range(2)]
    store.commit(recorders[0].chunks(50))
    view.refresh()
    sampler = SequenceSampler(view, 4, 8, (), rng())
    for recorder in recorders:
        store.commit(recorder.chunks(28, ends="cut") + recorder.chunks(20))
    view.refresh()
    batches = [sampler.sample() for _ in range(7)]
    fresh = np.concatenate([b["row_id"][:2] for b in batches[:6]])
    assert sorted(fresh.ravel().tolist()) == list(range(50, 146))
    check = {1: 1 * STRIDE + 27, 100: 100 * STRIDE + 27}
    for batch in batches:
        steps = batch["step"][..., 0].astype(int)
        for robot_end in check.values():
            assert batch["is_last"][steps == robot_end].all()


def test_context_is_that_of_the_row_before(store: ReplayStore):
    recorder = Recorder(extras=True)
    store.commit(recorder.chunks(20))
    store.commit(recorder.chunks(10, extras=False))
    view = ReplayView(store, extras=EXTRAS)
    view.refresh()
    sampler = SequenceSampler(view, 32, 4, ("h",), rng(), online=False)
    known = 0
    for _ in range(10):
        batch = sampler.sample()
        for step, first, context in zip(
            batch["step"][:, 0, 0], batch["is_first"][:, 0], batch["context/h"], strict=True
        ):
            has = 0 < step < STRIDE
            assert first == (not has)
            assert context.tolist() == [step - 1 if has else 0] * 3
            known += has
    assert known > 100


def test_rows_that_no_policy_chose_have_no_context_until_it_is_written_back(store: ReplayStore):
    store.commit(Recorder(extras=True).chunks(9, chunk=3, version=NO_POLICY))
    view = ReplayView(store, extras=EXTRAS)
    view.refresh()
    held = np.arange(9)
    assert not view.has_extras(held).any()
    view.write_back(held[None], {"h": np.ones((1, 9, 3), np.float32)})
    assert view.has_extras(held).all()


def test_rows_without_extras_do_not_inherit_those_of_rows_gone_by(store: ReplayStore):
    view, recorder = ReplayView(store, capacity=MAX_CHUNK_ROWS, extras=EXTRAS), Recorder()
    store.commit(recorder.chunks(MAX_CHUNK_ROWS, extras=True))
    store.commit(recorder.chunks(10))
    view.refresh()
    found = view.gather(np.arange(10, MAX_CHUNK_ROWS + 10), ["policy/h"])["policy/h"]
    assert found[:-10].any(1).all()
    assert not found[-10:].any()


def test_write_back_reaches_its_rows_and_no_others_after_the_ring_has_turned(store: ReplayStore):
    view = ReplayView(store, capacity=MAX_CHUNK_ROWS, extras=EXTRAS)
    recorder = Recorder()
    store.commit(recorder.chunks(60, ends="cut"))
    view.refresh()
    sampler = SequenceSampler(view, 4, 8, ("h",), rng(), online=False)
    old = view.gather(np.arange(60), ["step"])["step"]
    rows = np.arange(60).reshape(6, 10)
    assert not view.has_extras(rows).any()
    store.commit(recorder.chunks(40))
    view.refresh()
    assert (view.tail, view.head, len(view)) == (36, 100, 64)
    view.write_back(rows, {"h": np.repeat(old, 3, 1).reshape(6, 10, 3)})
    alive = np.arange(36, 100)
    np.testing.assert_array_equal(view.has_extras(alive), alive < 60)
    found = view.gather(alive, ["policy/h", "step"])
    np.testing.assert_array_equal(found["policy/h"][:24, 0], found["step"][:24, 0])
    assert not found["policy/h"][24:].any()
    for _ in range(20):
        batch = sampler.sample()
        assert batch["row_id"].min() >= 36
        steps, known = batch["step"][:, 0, 0], ~batch["is_first"][:, 0]
        np.testing.assert_array_equal(batch["context/h"][known, 0], steps[known] - 1)
        assert ((steps > 36) & (steps < 60))[known].all()


def test_a_view_opened_late_holds_the_newest_rows(store: ReplayStore):
    recorder = Recorder(image=16)
    early = ReplayView(store, capacity=100)
    for _ in range(30):
        store.commit(recorder.chunks(11))
        early.refresh()
    late = ReplayView(store, capacity=100)
    late.refresh()
    assert late.head == early.head == 330
    assert 330 - 100 <= late.tail <= 330 - 90
    rows = np.arange(late.tail, 330)
    for name in ("step", "camera"):
        np.testing.assert_array_equal(
            late.gather(rows, [name])[name], early.gather(rows, [name])[name]
        )
    assert sum(len(e.ids) - e.start for e in early.episodes) == len(early) == 100


def test_rows_of_another_type_are_an_error(store: ReplayStore):
    view = ReplayView(store)
    store.commit(Recorder(0).chunks(3))
    view.refresh()
    store.commit(Recorder(1, image=8).chunks(3))
    with pytest.raises(ReplayError, match="columns"):
        view.refresh()


@settings(max_examples=30, deadline=None)
@given(EPISODES, st.integers(1, 6))
def test_n_step_returns_equal_brute_force(tmp_path_factory, episodes, n):
    store = ReplayStore(tmp_path_factory.mktemp("replay"))
    recorder, lengths, terminal = Recorder(image=16), {}, {}
    for number, (rows, how) in enumerate(episodes):
        store.commit(recorder.chunks(rows, 4, how))
        lengths[number], terminal[number] = rows, how == "terminal"
    view = ReplayView(store)
    view.refresh()
    batch = TransitionSampler(view, 8, n, 0.9, rng()).sample()
    assert (batch is None) == (sum(lengths.values()) - len(lengths) < 8)
    for i in range(8 if batch else 0):
        episode, index = divmod(int(batch["step"][i, 0]), STRIDE)
        end = min(index + n, lengths[episode] - 1)
        rewards = [episode * STRIDE + k for k in range(index + 1, end + 1)]
        expected = sum(0.9**k * r for k, r in enumerate(rewards))
        ended = terminal[episode] and end == lengths[episode] - 1
        assert batch["next/step"][i, 0] == episode * STRIDE + end
        assert batch["next/camera"][i, 0, 0, 0] == (episode * STRIDE + end) % 251
        assert batch["return"][i] == pytest.approx(expected, rel=1e-5)
        assert batch["discount"][i] == pytest.approx(0 if ended else 0.9 ** (end - index))
    store.close()


def test_rollouts_are_served_once_in_order_and_stale_ones_dropped(store: ReplayStore):
    view = ReplayView(store, extras=EXTRAS)
    queue = OnPolicyQueue(view, 2, 5, max_lag=1)
    recorder = Recorder(extras=True)
    served: list[int] = []
    for version in range(4):
        store.commit(recorder.chunks(20, version=version))
        view.refresh()
        queue.version = version
        batch = queue.sample()
        served += batch["row_id"].ravel().tolist()
        np.testing.assert_array_equal(batch["policy/h"][..., 0], batch["step"][..., 0])
        assert (batch["policy_version"] >= version - 1).all()
    assert served == sorted(set(served))
    queue.version = 9
    assert queue.sample() is None
    assert queue.dropped * 5 == 80 - len(served)


def test_rollouts_share_as_many_rows_as_they_overlap(store: ReplayStore):
    view = ReplayView(store, extras=EXTRAS)
    queue = OnPolicyQueue(view, 1, 5, max_lag=9, overlap=2)
    recorder, found = Recorder(extras=True), []
    for _ in range(3):
        store.commit(recorder.chunks(7, 4))
        view.refresh()
        while (batch := queue.sample()) is not None:
            found.append(batch["row_id"][0].tolist())
    assert found == [list(range(k, k + 5)) for k in range(0, 17, 3)]


def test_rollouts_that_no_policy_chose_are_dropped(store: ReplayStore):
    view = ReplayView(store)
    queue = OnPolicyQueue(view, 1, 5, max_lag=3)
    store.commit(Recorder(version=-1).chunks(5, ends="cut"))
    view.refresh()
    assert (queue.sample(), queue.dropped) == (None, 1)


@pytest.mark.parametrize("kind", ["sequences", "transitions", "on_policy"])
def test_a_restored_sampler_goes_on_as_if_nothing_had_happened(store: ReplayStore, kind: str):
    recorder, view = Recorder(), ReplayView(store)

    def make(seed: int):
        return {
            "sequences": lambda: SequenceSampler(view, 4, 6, (), rng(seed)),
            "transitions": lambda: TransitionSampler(view, 4, 3, 0.9, rng(seed)),
            "on_policy": lambda: OnPolicyQueue(view, 2, 6, 5),
        }[kind]()

    sampler = make(0)
    for _ in range(3):
        store.commit(recorder.chunks(33))
    view.refresh()
    sampler.sample()
    other = make(1)
    other.restore(json.loads(json.dumps(sampler.state())))
    store.commit(recorder.chunks(33))
    view.refresh()
    for _ in range(8):
        one, two = sampler.sample(), other.sample()
        assert (one is None) == (two is None)
        for name in one or {}:
            np.testing.assert_array_equal(one[name], two[name])


def test_the_limiter_grants_the_ratio_and_neither_hoards_nor_invents():
    limiter = TrainLimiter(train_ratio=8, rows_per_update=32, min_rows=40, max_debt=5)
    assert limiter.allowed(39) == 0
    assert limiter.allowed(40) == 5  # ten are due, five are forgiven
    made: Counter[int] = Counter()
    for rows in range(40, 200):
        while limiter.allowed(rows):
            limiter.spend()
            made[rows] += 1
    assert sum(made.values()) == 5 + (199 // 4 - 10)
    assert limiter.allowed(199) == 0
    other = TrainLimiter(train_ratio=8, rows_per_update=32, min_rows=40, max_debt=5)
    other.restore(json.loads(json.dumps(limiter.state())))
    assert [other.allowed(rows) for rows in (199, 200, 10_000)] == [0, 1, 5]
