"""The thread that makes chunks durable: whatever has come in meanwhile goes into one commit."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from robot_client.schema import Chunk
from server.errors import ReplayError
from server.replay.store import Outcome, ReplayStore

log = logging.getLogger(__name__)
COMMIT_BYTES = 32 * 2**20  # of one transaction, so that acknowledgements keep coming under load
RETRY_S = 1.0


@dataclass(frozen=True)
class Delivery:
    """A checked chunk on its way to the disk, and the connection that waits for the answer."""

    peer: bytes
    experiment: str
    robot: str
    chunk: Chunk
    nbytes: int


Done = Callable[[Sequence[tuple[Delivery, Outcome]]], None]


class ChunkWriter:
    """Commits deliveries in a thread of its own.

    Args:
        store_of: the open store of an experiment; called in the thread.
        done: told, in the thread, what has become of deliveries once they are durable. Those of a
            failed commit are forgotten: their robots still have them and send them again.
        queue_bytes: the writer is `full` from so many waiting bytes on.
    """

    def __init__(
        self, store_of: Callable[[str], ReplayStore], done: Done, queue_bytes: int
    ) -> None:
        self._store_of, self._done, self._queue_bytes = store_of, done, queue_bytes
        self._waiting: deque[Delivery] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chunk-writer", daemon=True)
        self.problem = ""  # why the last commit failed; empty when it did not

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is waiting, then end."""
        self._stopping.set()
        with self._changed:
            self._changed.notify()
        self._thread.join()

    @property
    def stopping(self) -> bool:
        """Whether `stop` has been called: nothing more may be put."""
        return self._stopping.is_set()

    @property
    def full(self) -> bool:
        """Whether no more should be put for now."""
        return self._bytes >= self._queue_bytes

    def put(self, delivery: Delivery) -> None:
        """Queue a delivery; its arrays must not change any more."""
        with self._changed:
            self._waiting.append(delivery)
            self._bytes += delivery.nbytes
            self._changed.notify()

    def _run(self) -> None:
        while batch := self._take():
            finished: list[tuple[Delivery, Outcome]] = []
            for experiment in dict.fromkeys(d.experiment for d in batch):
                finished += self._commit([d for d in batch if d.experiment == experiment])
            with self._changed:
                self._bytes -= sum(d.nbytes for d in batch)
            self._done(finished)

    def _take(self) -> list[Delivery]:
        """Wait for deliveries; none means that the writer is to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping.is_set())
            batch, size = [], 0
            while self._waiting and size < COMMIT_BYTES:
                batch.append(self._waiting.popleft())
                size += batch[-1].nbytes
            return batch

    def _commit(self, batch: list[Delivery]) -> list[tuple[Delivery, Outcome]]:
        try:
            outcomes = self._store_of(batch[0].experiment).commit(
                [(d.robot, d.chunk) for d in batch]
            )
        except ReplayError as error:
            self.problem = str(error)
            log.exception("%d chunks of %s were not stored", len(batch), batch[0].experiment)
            self._stopping.wait(RETRY_S)  # a full disk does not get better by hurrying
            return []
        except Exception as error:  # whatever fails, the thread must live to try again
            if len(batch) > 1:  # one of them spoils it: the others must not wait for it
                return [result for delivery in batch for result in self._commit([delivery])]
            self.problem = f"{batch[0].robot}: {error or type(error).__name__}"
            log.exception("a chunk of %s was not stored", batch[0].robot)
            return []
        self.problem = ""
        return list(zip(batch, outcomes, strict=True))
