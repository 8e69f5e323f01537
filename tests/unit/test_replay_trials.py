"""Whole episodes are told once, if they were fair, and after a restart too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from robot_client.bundle import TensorSpec
from robot_client.schema import Source, Tag
from server.replay.store import ReplayStore
from server.replay.trials import TrialSampler
from server.replay.view import ReplayView
from tests.unit.replay_rows import Recorder

EXTRAS = {"h": TensorSpec("float32", (3,))}


def make(view: ReplayView, trials: int = 3) -> TrialSampler:
    return TrialSampler(view, 2, 4, (), np.random.default_rng(0), trials=trials)


def told(sampler: TrialSampler) -> list[tuple[int, float, float]]:
    """Steps, return and the first number of the extra, of those that were told."""
    batch: Any = sampler.sample()
    assert len(batch["trial/steps"]) == len(batch["trial/return"]) == len(batch["trial/h"])
    count = int((batch["trial/steps"] > 0).sum())
    columns = (batch["trial/steps"], batch["trial/return"], batch["trial/h"][:, 0])
    return [tuple(column[i].item() for column in columns) for i in range(count)]  # type: ignore[misc]


def test_each_is_told_once_when_it_has_ended(tmp_path: Path) -> None:
    store, one, two = ReplayStore(tmp_path), Recorder(0), Recorder(1)
    view = ReplayView(store, 1000, EXTRAS)
    sampler = make(view)
    whole, half = one.chunks(7, extras=True), two.chunks(12, ends="terminal", extras=True)
    store.commit([*whole, *half[:2]])
    view.refresh()
    assert told(sampler) == [(6, float(sum(range(7))), 0.0)]
    assert told(sampler) == []
    store.commit(half[2:])
    view.refresh()
    first = 100 * 1000.0
    assert told(sampler) == [(11, 12 * first + sum(range(12)), first)]
    store.close()


def test_no_more_are_told_at_once_than_asked_for_and_a_restart_goes_on(tmp_path: Path) -> None:
    store, recorder = ReplayStore(tmp_path), Recorder()
    for _ in range(5):
        store.commit(recorder.chunks(6, extras=True))
    view = ReplayView(store, 1000, EXTRAS)
    view.refresh()
    one, two = make(view), make(view)
    assert len(told(one)) == 3
    two.restore(json.loads(json.dumps(one.state())))
    assert told(one) == told(two)
    assert told(one) == told(two) == []
    store.close()


def test_what_was_not_fair_is_not_told(tmp_path: Path) -> None:
    store, recorder = ReplayStore(tmp_path), Recorder()
    tags = [Tag(evaluation=1), Tag(learn=False), Tag(cut=True)]
    for tag in tags:
        chunks = recorder.chunks(6, extras=True)
        store.commit([(robot, replace(chunk, tag=tag)) for robot, chunk in chunks])
    driven = recorder.chunks(6, extras=True)
    driven[0][1].columns["source"][2] = Source.HUMAN
    store.commit(driven)
    store.commit(recorder.chunks(6, ends="cut", extras=True))  # its end never came
    store.commit(recorder.chunks(6, extras=True))
    view = ReplayView(store, 1000, EXTRAS)
    view.refresh()
    sampler = make(view, trials=9)
    assert [total for _, total, _ in told(sampler)] == [6 * 5000.0 + 15]
    store.close()
