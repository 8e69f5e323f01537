"""Copies between host and device: nothing is used before it is there, nor overwritten before it is
read. A device is played by events that are done when the test says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from server.staging import LAG, AtOnce, HostSets, Loader, ToHost, WriteBacks

CPU = torch.device("cpu")
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Event:
    """Is done when `done` is set; waiting for it sets it, and is counted."""

    def __init__(self) -> None:
        self.done, self.waits = False, 0

    def query(self) -> bool:
        return self.done

    def synchronize(self) -> None:
        self.waits += not self.done
        self.done = True


class Device:
    """Brings context with an event a time; what was stored is told by its rows."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.stored: list[int] = []

    def bring(self, tensors):
        self.events.append(Event())
        return tensors, self.events[-1]

    def store(self, rows, context) -> None:
        self.stored.append(int(rows))

    def waits(self) -> int:
        return sum(event.waits for event in self.events)


def put(write_backs: WriteBacks, *numbers: int) -> None:
    for number in numbers:
        write_backs.put(np.array(number), {"h": torch.zeros(1)})


def test_context_is_stored_when_it_is_known_and_nobody_waits_for_it():
    device = Device()
    write_backs = WriteBacks(device.store, device.bring)
    put(write_backs, 0, 1)
    assert device.stored == []
    device.events[0].done = True
    put(write_backs, 2)
    assert device.stored == [0]
    device.events[1].done = device.events[2].done = True
    put(write_backs, 3)
    assert (device.stored, device.waits()) == ([0, 1, 2], 0)


def test_the_host_runs_ahead_of_the_device_by_a_few_updates_only():
    device = Device()
    write_backs = WriteBacks(device.store, device.bring)
    put(write_backs, *range(LAG))
    assert device.waits() == 0
    put(write_backs, LAG)
    assert (device.stored, device.waits()) == ([0], 1)


def test_updates_without_context_count_as_well():
    device = Device()
    write_backs = WriteBacks(device.store, device.bring)
    for _ in range(LAG + 3):
        write_backs.put(np.array(0), {})
    assert (device.stored, device.waits()) == ([], 3)


def test_context_is_stored_in_the_order_of_the_updates():
    device = Device()
    write_backs = WriteBacks(device.store, device.bring)
    put(write_backs, 0)
    put(write_backs, 1)
    device.events[1].done = True  # of two updates the later one overwrites the earlier
    put(write_backs, 2)
    assert device.stored == [0, 1]
    write_backs.flush()
    assert device.stored == [0, 1, 2]
    write_backs.flush()
    assert device.stored == [0, 1, 2]


def test_without_a_gpu_context_is_stored_at_once():
    stored = []
    write_backs = WriteBacks(lambda rows, context: stored.append(context["h"]), ToHost(CPU))
    context = torch.arange(3.0)
    write_backs.put(np.arange(3), {"h": context})
    assert stored[0] is context


def test_memory_is_lent_by_turns_and_again_only_when_its_copy_is_done():
    sets, events = HostSets(2, pinned=False), [Event() for _ in range(3)]
    like = {"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.uint8)}
    first = sets.take(like)
    sets.lend(first, events[0])
    second = sets.take(like)
    sets.lend(second, events[1])
    assert first["a"].data_ptr() != second["a"].data_ptr()
    assert [event.waits for event in events] == [0, 0, 0]
    third = sets.take(like)
    assert [event.waits for event in events] == [1, 0, 0]
    assert {k: t.data_ptr() for k, t in third.items()} == {
        k: t.data_ptr() for k, t in first.items()
    }
    assert (third["b"].shape, third["b"].dtype) == ((4,), torch.uint8)


def test_memory_of_another_shape_or_type_is_made_anew():
    sets = HostSets(1, pinned=False)
    sets.lend(sets.take({"a": torch.zeros(2)}), AtOnce())
    for like in (torch.zeros(3), torch.zeros(3, dtype=torch.int64)):
        taken = sets.take({"a": like})
        assert (taken["a"].shape, taken["a"].dtype) == (like.shape, like.dtype)
        sets.lend(taken, AtOnce())


def test_without_a_gpu_a_batch_is_not_copied():
    loader, batch = Loader(CPU), {"a": torch.zeros(2)}
    with loader.aside():
        loaded = loader.take(*loader.load(batch))
    assert loaded["a"] is batch["a"]


@on_gpu
def test_batches_arrive_whole_though_their_memory_is_used_again():
    device = torch.device("cuda", 0)
    loader = Loader(device)
    host = [torch.full((1024, 1024), float(i)) for i in range(12)]
    loaded = [loader.load({"a": tensor}) for tensor in host]
    for number, (tensors, done) in enumerate(loaded):
        found = loader.take(tensors, done)["a"]
        assert found.device == device
        assert (found == number).all()


@on_gpu
def test_context_comes_down_without_a_wait():
    device, stored = torch.device("cuda", 0), []
    write_backs = WriteBacks(lambda _, context: stored.append(context["h"].clone()), ToHost(device))
    for number in range(8):
        torch.cuda._sleep(1_000_000)
        write_backs.put(np.array(number), {"h": torch.full((64,), float(number), device=device)})
    write_backs.flush()
    assert [t.unique().tolist() for t in stored] == [[float(n)] for n in range(8)]
