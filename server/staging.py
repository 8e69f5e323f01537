"""What travels between host and device while the learner trains, so that neither waits.

Batches go up on a CUDA stream beside the training's; recomputed context comes down and is stored an
update or two later. Without a GPU nothing has to travel: everything is there at once.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from numpy.typing import NDArray

from agents.agent import Tensors

LAG = 2  # updates that may be under way on the device when the host goes on to the next
_SETS = 3  # of pinned memory for batches: one is filled while others are copied

Rows = NDArray[Any]
Store = Callable[[Rows, Tensors], None]


class Done(Protocol):
    """Whether the device has come to some point of its work; a `torch.cuda.Event` is one."""

    def query(self) -> bool:
        """Whether it has, without waiting."""
        ...

    def synchronize(self) -> None:
        """Wait until it has."""
        ...


class AtOnce:
    """Work that was done before it could be asked for."""

    def query(self) -> bool:
        """Always."""
        return True

    def synchronize(self) -> None:
        """There is nothing to wait for."""


def mark(device: torch.device) -> Done:
    """What is done when all that is queued on the device's current stream is."""
    if device.type != "cuda":
        return AtOnce()
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


class HostSets:
    """Some sets of host memory, used by turns; none is given out before its last copy is done.

    Args:
        count: how many.
        pinned: so that a GPU copies from and to them by itself.
    """

    def __init__(self, count: int, pinned: bool) -> None:
        self._pinned = pinned
        self._sets: deque[tuple[Tensors, Done]] = deque([({}, AtOnce())] * count)

    def take(self, like: Mapping[str, torch.Tensor]) -> Tensors:
        """Memory for tensors of these names, shapes and types. `lend` it before the next."""
        memory, done = self._sets.popleft()
        done.synchronize()
        return {k: self._fitting(memory.get(k), t) for k, t in like.items()}

    def lend(self, memory: Tensors, done: Done) -> None:
        """Note until when the memory taken last is in use."""
        self._sets.append((memory, done))

    def _fitting(self, old: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
        if old is not None and (old.shape, old.dtype) == (like.shape, like.dtype):
            return old
        return torch.empty(like.shape, dtype=like.dtype, pin_memory=self._pinned)


class Loader:
    """Brings batches to the device, from one thread, for another that trains on them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream(device))  # on what is there already
        self._sets = HostSets(_SETS, pinned=device.type == "cuda")

    def aside(self) -> contextlib.AbstractContextManager[Any]:
        """What is done within is queued beside the training, and in order with the copies."""
        return contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def load(self, tensors: Tensors) -> tuple[Tensors, Done]:
        """The tensors on the device, and when they are there."""
        if self._stream is None:
            return tensors, AtOnce()
        below = {k: t for k, t in tensors.items() if t.device.type == "cpu"}
        memory = self._sets.take(below)
        for name, tensor in below.items():
            memory[name].copy_(tensor)
        with self.aside():
            copies = {k: m.to(self._device, non_blocking=True) for k, m in memory.items()}
            done = mark(self._device)
        self._sets.lend(memory, done)
        return tensors | copies, done

    def take(self, tensors: Tensors, done: Done) -> Tensors:
        """In the thread that trains: let its stream, not the host, wait for the tensors."""
        if isinstance(done, torch.cuda.Event):
            current = torch.cuda.current_stream(self._device)
            current.wait_event(done)
            for tensor in tensors.values():
                tensor.record_stream(current)  # else the other stream's next ones take its memory
        return tensors


class ToHost:
    """Copies tensors to the host. The copies last until LAG more have been asked for."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sets = HostSets(LAG + 1, pinned=device.type == "cuda")

    def __call__(self, tensors: Tensors) -> tuple[Tensors, Done]:
        """The copies, and when they are complete."""
        if self._device.type != "cuda":
            return tensors, AtOnce()
        memory = self._sets.take(tensors)
        for name, tensor in tensors.items():
            memory[name].copy_(tensor, non_blocking=True)
        done = mark(self._device)
        self._sets.lend(memory, done)
        return memory, done


class WriteBacks:
    """Stores the context that updates have recomputed, in their order, once it is known.

    At most LAG updates are unknown at any time: the host runs no further ahead of the device.

    Args:
        store: takes row ids (B, T) and context (B, T, ...) by name.
        bring: puts context where `store` wants it; see `ToHost`.
    """

    def __init__(self, store: Store, bring: Callable[[Tensors], tuple[Tensors, Done]]) -> None:
        self._store, self._bring = store, bring
        self._under_way: deque[tuple[Rows, Tensors, Done]] = deque()

    def put(self, rows: Rows, context: Tensors) -> None:
        """Take the context of one update, be it empty, and store what is known by now."""
        self._under_way.append((rows, *self._bring(context)))
        while self._under_way and (len(self._under_way) > LAG or self._under_way[0][2].query()):
            self._settle()

    def flush(self) -> None:
        """Store all of it. Waits for the device."""
        while self._under_way:
            self._settle()

    def _settle(self) -> None:
        rows, context, done = self._under_way.popleft()
        done.synchronize()
        if context:
            self._store(rows, context)
