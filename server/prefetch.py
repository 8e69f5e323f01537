"""Samples batches ahead of the learner, in a thread, as fast as the train ratio allows."""

from __future__ import annotations

import queue
import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.agent import Learned, Tensors
from server.replay.limiter import TrainLimiter
from server.staging import Done, Loader
from server.training import (
    ROW_ID,
    Replay,
    Sampler,
    keep,
    make_write_backs,
    to_tensors,
    written_back,
)

_DEPTH = 2
_IDLE_S = 0.02


class Prefetcher:
    """Feeds `get`. Replay, sampler and limiter belong to it while it runs: use them under `lock`.

    An exception of the thread is raised again by the next `get`.
    """

    def __init__(
        self, replay: Replay, sampler: Sampler, limiter: TrainLimiter, device: torch.device
    ) -> None:
        self.lock = threading.Lock()
        self.held_back = False  # whether the next batch waits for rows to come in
        self._replay, self._sampler, self._limiter = replay, sampler, limiter
        self._loader = Loader(device)
        self._write_backs = make_write_backs(self._store, replay, device)
        self._queue: queue.Queue[tuple[Tensors, Done, NDArray[Any]]] = queue.Queue(_DEPTH)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self._thread.start()

    def get(self, timeout: float) -> tuple[Tensors, NDArray[Any]] | None:
        """The next batch and its row ids; None when there is none within `timeout` seconds."""
        if self._error is not None:
            raise self._error
        try:
            tensors, done, row_ids = self._queue.get(timeout=timeout)
        except queue.Empty:
            self.flush()
            return None
        return self._loader.take(tensors, done), row_ids

    def write_back(self, row_ids: NDArray[Any], learned: Learned) -> None:
        """Store context and priorities of rows, as an update has found them, once they are known.

        To be called after every update, also of agents without either: it is what keeps the host
        from running ahead of the device without end.
        """
        self._write_backs.put(row_ids, written_back(learned))

    def flush(self) -> None:
        """Store all that is under way. Waits for the device; not under `lock`."""
        self._write_backs.flush()

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
        with self.lock, self._loader.aside():
            self._replay.refresh()
            allowed = self._limiter.allowed(self._replay.head)
            batch = self._sampler.sample() if allowed else None
            if batch is not None:
                self._limiter.spend()
        self.held_back = batch is None
        if batch is None:
            self._stop.wait(_IDLE_S)
            return
        row_ids = batch.get(ROW_ID, np.empty(0, np.int64))
        self._offer(*self._loader.load(to_tensors(batch)), row_ids)

    def _offer(self, tensors: Tensors, done: Done, row_ids: NDArray[Any]) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put((tensors, done, row_ids), timeout=0.2)
                return
            except queue.Full:
                continue

    def _store(self, row_ids: NDArray[Any], found: Tensors) -> None:
        with self.lock, self._loader.aside():
            keep(self._replay, self._sampler, row_ids, found)
