"""What the learner says it waited for: rows, or batches."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_client.clock import ManualClock
from server.channel import Channel
from server.learner import Learner
from server.prefetch import Prefetcher
from server.replay.limiter import TrainLimiter
from server.replay.sampler import SequenceSampler
from server.replay.store import ReplayStore
from server.replay.view import ReplayView
from tests.unit.replay_rows import Recorder

JOB = {
    "id": "e1",
    "agent": "random",
    "config": {},
    "observation_space": {"type": "dict", "spaces": {"mode": {"type": "discrete", "n": 2}}},
    "action_space": {"type": "discrete", "n": 3},
}


class Batches:
    """Takes 50 ms for a batch, or 100 ms for none; what it says of the reason is given."""

    def __init__(self, clock: ManualClock, held_back: bool, some: bool) -> None:
        self.held_back, self._clock, self._some = held_back, clock, some

    def get(self, timeout: float):
        self._clock.advance(0.05 if self._some else 0.1)
        return ({}, np.empty(0, np.int64)) if self._some else None

    def write_back(self, row_ids, context) -> None:
        pass


@pytest.mark.parametrize("some", [True, False], ids=["a batch came", "none came"])
@pytest.mark.parametrize("held_back", [True, False], ids=["no rows", "slow sampling"])
def test_waiting_for_rows_is_throttling_however_short(
    tmp_path: Path, held_back: bool, some: bool
) -> None:
    (tmp_path / "experiment.json").write_text(json.dumps(JOB))
    ReplayStore(tmp_path / "replay").close()
    clock, said = ManualClock(), io.StringIO()
    learner = Learner(tmp_path, Channel(io.StringIO(), said), clock)
    batches = Batches(clock, held_back, some)
    for _ in range(22):
        learner._step(batches)  # type: ignore[arg-type]
    event = next(e for e in map(json.loads, said.getvalue().splitlines()) if "values" in e)
    shares = [event["values"][f"learner/{name}_share"] for name in ("throttle", "wait")]
    assert shares == pytest.approx([1.0, 0.0] if held_back else [0.0, 1.0])


def test_the_prefetcher_tells_when_it_waits_for_rows(tmp_path: Path) -> None:
    store = ReplayStore(tmp_path / "replay")
    store.commit(Recorder().chunks(8))
    view = ReplayView(store)
    sampler = SequenceSampler(view, 2, 4, (), np.random.default_rng(0))
    batches = Prefetcher(view, sampler, TrainLimiter(1.0, 8, 1, 10), torch.device("cpu"))
    try:
        assert batches.get(30) is not None
        assert batches.get(0.5) is None
        assert batches.held_back
    finally:
        batches.close()
        store.close()
