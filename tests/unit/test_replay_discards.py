"""Discarded episodes stay in the store and are drawn no more, until they count again."""

from pathlib import Path

import numpy as np
import pytest

from robot_client.errors import SchemaError
from server.replay.sampler import OnPolicyQueue, SequenceSampler
from server.replay.store import ReplayStore
from server.replay.transitions import TransitionSampler
from server.replay.view import ReplayView
from tests.unit.replay_rows import STRIDE, Recorder


@pytest.fixture
def store(tmp_path: Path):
    store = ReplayStore(tmp_path / "replay")
    yield store
    store.close()


def fill(store, *lengths, robot=0):
    recorder = Recorder(robot)
    for length in lengths:
        store.commit(recorder.chunks(length))


def episodes_of(batch):
    return {int(step) // STRIDE for step in np.ravel(batch["step"])}


def discard(store, episode, discarded=True):
    store.discard("robot-0", "boot-0", episode, discarded)


def samplers(view, rng):
    return {
        "sequences": SequenceSampler(view, 8, 4, (), rng),
        "transitions": TransitionSampler(view, 8, 3, 0.9, rng),
    }


@pytest.mark.parametrize("kind", ["sequences", "transitions"])
def test_nothing_is_drawn_from_a_discarded_episode(store, kind):
    fill(store, 9, 7, 8)
    view = ReplayView(store, 1000)
    view.refresh()
    sampler = samplers(view, np.random.default_rng(0))[kind]
    drawn = [episodes_of(sampler.sample()) for _ in range(30)]
    assert set.union(*drawn) == {0, 1, 2}
    discard(store, 1)
    assert view.refresh() == 0
    drawn = [episodes_of(sampler.sample()) for _ in range(30)]
    assert set.union(*drawn) == {0, 2}
    assert (view.drawable, view.episode_count, len(view)) == (17, 2, 24)
    discard(store, 1, False)
    view.refresh()
    drawn = [episodes_of(sampler.sample()) for _ in range(30)]
    assert set.union(*drawn) == {0, 1, 2}


@pytest.mark.parametrize("kind", ["sequences", "transitions"])
def test_when_all_is_discarded_there_is_no_batch(store, kind):
    fill(store, 9, 9)
    view = ReplayView(store, 1000)
    for episode in (0, 1):
        discard(store, episode)
    view.refresh()
    assert samplers(view, np.random.default_rng(0))[kind].sample() is None


def test_an_episode_is_discarded_before_its_first_row_and_while_it_runs(store):
    fill(store, 6)
    discard(store, 1)
    view = ReplayView(store, 1000)
    view.refresh()
    recorder = Recorder()
    recorder.chunks(6)
    for name, chunk in recorder.chunks(9):
        store.append(name, chunk)
        view.refresh()
        assert view.drawable == 6
    discard(store, 1, False)
    view.refresh()
    assert view.drawable == 15


def test_fresh_windows_of_a_discarded_episode_are_not_served(store):
    view = ReplayView(store, 1000)
    view.refresh()
    fresh = SequenceSampler(view, 2, 4, (), np.random.default_rng(0))
    rollouts = OnPolicyQueue(view, 1, 4, 10)
    fill(store, 8, 8)
    discard(store, 0)
    view.refresh()
    assert episodes_of(fresh.sample()) == {1}
    assert episodes_of(rollouts.sample()) == {1}
    assert rollouts.dropped == 2


def test_a_discarded_episode_falls_out_of_view_like_any_other(store):
    fill(store, 60, 60, 60)
    discard(store, 0)
    view = ReplayView(store, 100)
    view.refresh()
    fill_more = Recorder(1)
    store.commit(fill_more.chunks(60))
    view.refresh()
    assert view.drawable == len(view)
    assert {e.number for e in view.episodes if e.stream[0] == "robot-0"} <= {1, 2}


def test_a_discard_is_durable_and_disturbs_neither_rows_nor_tasks(tmp_path):
    store = ReplayStore(tmp_path / "replay")
    discard(store, 3)
    recorder = Recorder()
    for number in range(3):
        for name, chunk in recorder.chunks(6):
            store.append(name, type(chunk)(**vars(chunk) | {"task": f"task-{number}"}))
        discard(store, number)
    discard(store, 3, False)
    store.close()
    again = ReplayStore(tmp_path / "replay", readonly=True)
    with again.read() as snapshot:
        assert snapshot.discarded() == {("robot-0", "boot-0", n) for n in range(3)}
        assert sorted(snapshot.tasks().values()) == ["", "task-0", "task-1", "task-2"]
    audit = again.verify()
    again.close()
    assert (audit.rows, audit.problems) == (18, ())


def test_a_robot_without_a_name_has_no_episodes(store):
    with pytest.raises(SchemaError, match="robot"):
        store.discard("", "boot-0", 0)
