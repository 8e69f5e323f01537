"""Transitions as they come: each once, in order, none across episodes, and after a restart too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from server.replay.arrivals import ArrivalSampler
from server.replay.store import ReplayStore
from server.replay.view import ReplayView
from tests.unit.replay_rows import Recorder


def drain(sampler: ArrivalSampler) -> list[int]:
    found: list[int] = []
    while (batch := sampler.sample()) is not None:
        found += batch["row_id"].tolist()
    return found


def make(view: ReplayView, batch: int = 1) -> ArrivalSampler:
    return ArrivalSampler(view, batch, 1, 0.9, np.random.default_rng(0))


def test_each_comes_once_in_order_but_for_the_last_of_an_episode(tmp_path: Path) -> None:
    store, recorder = ReplayStore(tmp_path), Recorder()
    view = ReplayView(store, 1000)
    sampler, seen = make(view), []
    for _ in range(4):
        store.commit(recorder.chunks(30))
        view.refresh()
        seen += drain(sampler)
    assert seen == sorted(set(seen))
    last = set(range(view.head)) - set(seen)
    rows = np.array(sorted(last))
    followed = view.after(rows) >= 0
    assert not followed.any()  # nothing that has a successor was left out
    assert len(seen) + len(last) == view.head
    store.close()


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    store = ReplayStore(tmp_path)
    store.commit(Recorder().chunks(60))
    view = ReplayView(store, 1000)
    view.refresh()
    one, two = make(view, 4), make(view, 4)
    assert one.sample() is not None
    two.restore(json.loads(json.dumps(one.state())))
    assert drain(one) == drain(two) != []
    store.close()
