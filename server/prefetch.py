"""Samples batches ahead of the learner, in a thread, as fast as the train ratio allows."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.agent import Tensors
from server.replay.limiter import TrainLimiter
from server.replay.view import ReplayView
from server.training import ROW_ID, Sampler, to_tensors

_DEPTH = 2
_IDLE_S = 0.02


class Prefetcher:
    """Feeds `get`. The view, sampler and limiter belong to it while it runs: use them under `lock`.

    An exception of the thread is raised again by the next `get`.
    """

    def __init__(
        self, view: ReplayView, sampler: Sampler, limiter: TrainLimiter, device: torch.device
    ) -> None:
        self.lock = threading.Lock()
        self.held_back = False  # whether the next batch waits for rows to come in
        self._view, self._sampler, self._limiter, self._device = view, sampler, limiter, device
        self._queue: queue.Queue[tuple[Tensors, NDArray[Any]]] = queue.Queue(_DEPTH)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self._thread.start()

    def get(self, timeout: float) -> tuple[Tensors, NDArray[Any]] | None:
        """The next batch and its row ids; None when there is none within `timeout` seconds."""
        if self._error is not None:
            raise self._error
        try:
            return self._queue.get(timeout=timeout)
        except queue.Empty:
            return None

    def write_back(self, row_ids: NDArray[Any], context: Mapping[str, torch.Tensor]) -> None:
        """Store recomputed context of rows; waits for the device."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in context.items()}
        with self.lock:
            self._view.write_back(row_ids, arrays)

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._step()
        except BaseException as error:  # noqa: BLE001 - raised again in the learner's own thread
            self._error = error

    def _step(self) -> None:
        with self.lock:
            self._view.refresh()
            allowed = self._limiter.allowed(self._view.head)
            batch = self._sampler.sample() if allowed else None
            if batch is not None:
                self._limiter.spend()
        self.held_back = batch is None
        if batch is None:
            self._stop.wait(_IDLE_S)
            return
        self._offer(to_tensors(batch, self._device), batch.get(ROW_ID, np.empty(0, np.int64)))

    def _offer(self, tensors: Tensors, row_ids: NDArray[Any]) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put((tensors, row_ids), timeout=0.2)
                return
            except queue.Full:
                continue
