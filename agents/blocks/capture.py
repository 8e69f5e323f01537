"""One whole update as a CUDA graph: thousands of launches become one.

Everything that an update changes must be changed in place, and nothing in it may wait for the
device or depend on the host. Inputs are copied into the places that the graph reads; outputs are
copied out, for the next replay overwrites them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from agents.agent import Learned, Tensors

Update = Callable[[Tensors], Learned]


class Captured:
    """An update that is run a few times as it is, then captured, then replayed.

    Args:
        update: works on batches of always the same shapes.
        generator: the only source of its randomness.
        warmup: runs before the capture, in which libraries choose their kernels.
    """

    def __init__(self, update: Update, generator: torch.Generator, warmup: int) -> None:
        self._update, self._generator, self._left = update, generator, warmup
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: Tensors = {}
        self._learned = Learned({})

    def __call__(self, batch: Tensors) -> Learned:
        """One update; what it yields stays as it is."""
        with torch.cuda.device(self._generator.device):  # streams are the current device's
            return self._run(batch)

    def _run(self, batch: Tensors) -> Learned:
        if self._left:
            self._left -= 1
            return self._warm(batch)
        if self._graph is None:
            self._batch = {name: tensor.clone() for name, tensor in batch.items()}
            self._capture()
        for name, tensor in batch.items():
            self._batch[name].copy_(tensor, non_blocking=True)
        assert self._graph is not None
        self._graph.replay()
        learned = self._learned
        priority = None if learned.priority is None else learned.priority.clone()
        return Learned(_cloned(learned.metrics), _cloned(learned.context), priority)

    def _warm(self, batch: Tensors) -> Learned:
        """On another stream, as a capture demands."""
        stream, current = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            learned = self._update(batch)
        current.wait_stream(stream)
        return learned

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        # Records only: nothing is updated yet. Other threads go on fetching batches meanwhile, and
        # what they ask of the device must not break the capture.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._learned = self._update(self._batch)
        self._graph = graph


def _cloned(tensors: Tensors) -> Tensors:
    return {name: tensor.clone() for name, tensor in tensors.items()}
