"""Replay mirrored on a device yields the very batches of the host's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.agent import Demand, Learned, OnPolicy, Sequences, Transitions
from robot_client.bundle import TensorSpec
from robot_client.schema import MAX_CHUNK_ROWS
from server.device_columns import DeviceColumns
from server.errors import ReplayError
from server.lockstep import run
from server.prefetch import Prefetcher
from server.replay.limiter import TrainLimiter
from server.replay.store import ReplayStore
from server.replay.view import ReplayView
from server.training import ROW_ID, Sampler, make_sampler
from tests.unit.replay_rows import Recorder

EXTRAS = {"h": TensorSpec("float32", (3,))}
DEMANDS: list[Demand] = [Sequences(6, 8, ("h",)), Transitions(6, 3, 0.9), OnPolicy(1, 5, 9)]
DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    ),
]


@pytest.fixture
def store(tmp_path: Path):
    store = ReplayStore(tmp_path / "replay")
    yield store
    store.close()


class Pair:
    """A view and a mirror of another view of the same store, each with its sampler."""

    def __init__(self, store: ReplayStore, demand: Demand, device: str, capacity: int) -> None:
        self.view = ReplayView(store, capacity, EXTRAS)
        mirrored = ReplayView(store, capacity, EXTRAS)
        self.mirror = DeviceColumns(mirrored, torch.device(device))
        self.host = self._sampler(demand, self.view, None)
        self.there = self._sampler(demand, mirrored, self.mirror)

    def refresh(self) -> None:
        assert self.view.refresh() == self.mirror.refresh()
        assert self.view.head == self.mirror.head

    def sample(self):
        """The host's batch, once it is known to be the mirror's."""
        mine, its = self.host.sample(), self.there.sample()
        assert (mine is None) == (its is None)
        if mine is None:
            return None
        assert mine.keys() == its.keys()
        for name, array in mine.items():
            if name != ROW_ID:
                assert its[name].device.type == self.mirror.place(np.zeros(1)).device.type
                its[name] = its[name].cpu().numpy()
            assert its[name].dtype == array.dtype, name
            np.testing.assert_array_equal(its[name], array, err_msg=name)
        return mine

    def write_back(self, rows, values: torch.Tensor) -> None:
        self.view.write_back(rows, {"h": values})
        self.mirror.write_back(rows, {"h": self.mirror.place(values.numpy())})

    def _sampler(self, demand: Demand, view: ReplayView, replay: DeviceColumns | None) -> Sampler:
        sampler = make_sampler(demand, view, 0, replay)
        assert sampler is not None
        return sampler


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("demand", DEMANDS, ids=lambda demand: type(demand).__name__)
def test_batches_are_those_of_the_host(store: ReplayStore, demand: Demand, device: str):
    pair = Pair(store, demand, device, capacity=MAX_CHUNK_ROWS + 7)
    recorder = Recorder(image=16)
    generator, served = torch.Generator().manual_seed(0), 0
    for turn in range(12):  # the ring turns twice
        ends = ("last", "terminal", "cut")[turn % 3]
        store.commit(recorder.chunks(13, ends=ends, extras=turn % 5 != 4))
        pair.refresh()
        for _ in range(3):
            batch = pair.sample()
            if batch is not None:
                served += 1
                rows = batch[ROW_ID] if ROW_ID in batch else np.array([[pair.view.tail]])
                pair.write_back(rows, torch.rand((*rows.shape, 3), generator=generator))
    assert served > 10


def test_a_row_that_was_cut_off_later_is_last_here_too(store: ReplayStore):
    pair = Pair(store, Sequences(4, 5, ("h",)), "cpu", capacity=100)
    recorder = Recorder()
    store.commit(recorder.chunks(6, ends="cut"))
    pair.refresh()
    store.commit(recorder.chunks(6))  # closes the episode before, whose rows are mirrored already
    pair.refresh()
    assert pair.mirror.gather(np.arange(12), ["is_last"])["is_last"].nonzero().tolist() == [
        [5],
        [11],
    ]


def test_the_last_of_several_contexts_of_a_row_counts_and_rows_out_of_view_are_left_alone(
    store: ReplayStore,
):
    pair = Pair(store, Sequences(4, 5, ("h",)), "cpu", capacity=MAX_CHUNK_ROWS)
    recorder = Recorder()
    store.commit(recorder.chunks(MAX_CHUNK_ROWS) + recorder.chunks(5))
    pair.refresh()
    assert pair.view.tail == 5
    rows = np.array([[4, 7, 7], [8, 7, 4]])
    pair.write_back(rows, torch.arange(18.0).reshape(2, 3, 3))
    alive = np.arange(5, MAX_CHUNK_ROWS + 5)
    found = pair.mirror.gather(alive, ["policy/h"])["policy/h"]
    np.testing.assert_array_equal(found, pair.view.gather(alive, ["policy/h"])["policy/h"])
    assert found[2].tolist() == [12, 13, 14]
    assert found[3].tolist() == [9, 10, 11]
    assert not found[4:].any()


def test_a_late_mirror_goes_on_from_a_checkpoint(store: ReplayStore):
    demand = Sequences(4, 6)
    pair, recorder = Pair(store, demand, "cpu", 100), Recorder(image=16)
    for _ in range(15):
        store.commit(recorder.chunks(11))
        pair.refresh()
    pair.sample()
    later = Pair(store, demand, "cpu", 100)
    later.refresh()
    state = json.loads(json.dumps(pair.there.state()))
    later.host.restore(state)
    later.there.restore(state)
    store.commit(recorder.chunks(11))
    later.refresh()
    for _ in range(5):
        assert later.sample() is not None


def test_what_does_not_fit_is_refused_with_its_size(store: ReplayStore):
    store.commit(Recorder(image=16).chunks(3))
    view = ReplayView(store, 1_000_000)
    mirror = DeviceColumns(view, torch.device("cpu"), room=10**8)
    with pytest.raises(ReplayError, match=r"1000000 rows take 0\.8 GB.* 0\.1 GB free"):
        mirror.refresh()


def test_an_agent_learns_the_same_from_a_mirror(tmp_path: Path):
    config = {"size": "tiny", "batch_size": 2, "batch_length": 8, "horizon": 3}
    for on_device in (False, True):
        run(
            "dreamer",
            "pointmass",
            steps=120,
            config=config,
            directory=tmp_path / str(on_device),
            eval_episodes=0,
            train_ratio=2.0,
            min_rows=60,
            device="cpu",
            replay_on_device=on_device,
        )
    from_view, mirrored = (tmp_path / str(on) / "metrics.jsonl" for on in (False, True))
    assert json.loads(from_view.read_text().splitlines()[-1])["updates"] > 5
    assert from_view.read_bytes() == mirrored.read_bytes()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("on_device", [False, True], ids=["from the view", "from a mirror"])
def test_the_prefetcher_serves_rows_and_keeps_their_context(
    store: ReplayStore, on_device: bool, device: str
):
    store.commit(Recorder(image=16).chunks(20))
    where, view = torch.device(device), ReplayView(store, 100, EXTRAS)
    replay = DeviceColumns(view, where) if on_device else view
    sampler = make_sampler(Sequences(2, 4, ("h",)), view, 0, replay)
    assert sampler is not None
    batches = Prefetcher(replay, sampler, TrainLimiter(20.0, 8, 1, 100), where)
    newest: dict[int, int] = {}
    try:
        for number in range(1, 30):
            got = batches.get(30)
            assert got is not None
            tensors, rows = got
            assert {tensor.device.type for tensor in tensors.values()} == {device}
            np.testing.assert_array_equal(tensors["step"][..., 0].cpu(), rows)
            np.testing.assert_array_equal(tensors["camera"][..., 0, 0, 0].cpu(), rows % 251)
            context = {"h": torch.full((2, 4, 3), float(number), device=where)}
            batches.write_back(rows, Learned({}, context))
            newest |= dict.fromkeys(rows.ravel().tolist(), number)
        batches.flush()
        kept = np.array(sorted(newest))
        found = replay.gather(kept, ["policy/h"])["policy/h"]
        assert found[:, 0].tolist() == [newest[row] for row in kept.tolist()]
        assert view.has_extras(kept).all()
    finally:
        batches.close()
