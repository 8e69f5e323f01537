"""n-step targets against the golden cases, through the store and the view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robot_client.bundle import TensorSpec
from robot_client.schema import Chunk
from server.replay.store import ReplayStore
from server.replay.transitions import TransitionSampler
from server.replay.view import ReplayView
from tests.oracle_cases import Arrays, cases, load
from tests.unit.replay_rows import STRIDE, Recorder, rows

FILE = "8_other_algorithms"


def episodes(inputs: Arrays) -> list[tuple[list[int], str]]:
    """The case's transitions, in runs that end as they do there."""
    found, run = [], []
    for t, (ended, cut) in enumerate(zip(inputs["terminated"], inputs["truncated"], strict=True)):
        run.append(t)
        if ended or cut:
            found.append((run, "terminal" if ended else "last"))
            run = []
    return [*found, (run, "")] if run else found


def fill(store: ReplayStore, inputs: Arrays) -> dict[int, int]:
    """Store the case; which transition leaves which row."""
    leaves, seq = {}, 0
    for number, (run, end) in enumerate(episodes(inputs)):
        columns = rows(number, 0, len(run) + 1, **({end: True} if end else {}))
        columns["reward"][1:] = inputs["reward"][run]
        store.commit([("robot-0", Chunk("boot", number, seq, columns))])
        leaves |= {seq + i: t for i, t in enumerate(run)}
        seq += len(run) + 1
    return leaves


@pytest.mark.parametrize("case", cases(FILE, "nstep"))
def test_n_step_targets_are_the_golden_ones(tmp_path: Path, case: str):
    inputs, outputs, _ = load(FILE, case)
    store = ReplayStore(tmp_path / "replay")
    leaves = fill(store, inputs)
    view = ReplayView(store)
    view.refresh()
    n, gamma = int(inputs["n"]), float(inputs["gamma"])
    sampler = TransitionSampler(view, 12, n, gamma, np.random.default_rng(0))
    seen = set()
    for _ in range(20):
        batch = sampler.sample()
        assert batch is not None
        for i, row in enumerate(batch["row_id"].tolist()):
            t = leaves[row]
            end = int(outputs["bootstrap_row"][t])
            target = batch["return"][i] + batch["discount"][i] * inputs["next_value"][end]
            assert target == pytest.approx(outputs["target"][t], rel=1e-5, abs=1e-6)
            assert batch["discount"][i] == pytest.approx(outputs["bootstrap_factor"][t], rel=1e-6)
            arrived = next(r for r, left in leaves.items() if left == end) + 1
            expected = view.gather(np.array([arrived]), ["step"])["step"][0]
            np.testing.assert_array_equal(batch["next/step"][i], expected)
            seen.add(t)
    store.close()
    assert seen == set(range(len(inputs["reward"])))


def test_what_the_policy_recorded_comes_with_its_row(tmp_path: Path):
    store = ReplayStore(tmp_path / "replay")
    recorder = Recorder(extras=True)
    store.commit(recorder.chunks(20))
    store.commit(recorder.chunks(10, extras=False))
    view = ReplayView(store, extras={"h": TensorSpec("float32", (3,))})
    view.refresh()
    batch = TransitionSampler(view, 25, 1, 0.99, np.random.default_rng(0)).sample()
    assert batch is not None
    steps = batch["step"][:, 0]
    known = np.where(steps < STRIDE, steps, 0)
    np.testing.assert_array_equal(batch["policy/h"], np.repeat(known[:, None], 3, 1))
    assert not any(name.startswith("next/policy") for name in batch)
    store.close()


def test_rows_follow_each_other_though_robots_write_by_turns(tmp_path: Path):
    store = ReplayStore(tmp_path / "replay")
    view = ReplayView(store, capacity=64)
    pairs = [Recorder(i).chunks(30, chunk=4, ends="cut") for i in range(2)]
    for one, two in zip(*pairs, strict=True):
        store.commit([one, two])
        view.refresh()
        held = np.arange(view.tail, view.head)
        after = view.after(held)
        steps = view.gather(held, ["step"])["step"][:, 0]
        known = after >= 0
        assert (~known).sum() == 2  # the newest of each robot
        found = view.gather(after[known], ["step"])["step"][:, 0]
        np.testing.assert_array_equal(found, steps[known] + 1)
    assert view.tail == 0 or known.sum() == 62
    store.close()
