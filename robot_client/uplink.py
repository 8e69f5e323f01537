"""Which rows to send next: a window of chunks over the spool, going back when one was lost."""

from __future__ import annotations

from collections import deque
from typing import Final

from robot_client.errors import LinkError
from robot_client.messages import Upload
from robot_client.schema import MAX_CHUNK_ROWS
from robot_client.spool import Spool

WINDOW_CHUNKS: Final = 8
WINDOW_BYTES: Final = 2**20  # what may stand in front of a heartbeat on a slow radio
CHUNK_BYTES: Final = 256 * 2**10
MAX_WAIT: Final = 0.5  # seconds until an unfinished chunk is sent as it is
_ACK_TIMEOUT: Final = 2.0
_GAP_TIMEOUT: Final = 0.2  # after an answer that takes no row: it may be to a second copy


class Uplink:
    """Go-back-N from a spool. Times are monotonic seconds, given by the caller.

    Args:
        spool: the rows.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._next = spool.first_unacked
        self._window: deque[tuple[int, int]] = deque()  # (seq after the chunk, its bytes)
        self._deadline = float("inf")
        self._waiting_since: float | None = None  # when the first unsent row was first seen

    def begin(self, next_seq: int) -> None:
        """The server expects row `next_seq`. Raises LinkError if that cannot be."""
        self._check(next_seq)
        self._spool.ack(next_seq)
        self.go_back()

    def acked(self, next_seq: int, now: float) -> None:
        """The server has stored the rows before `next_seq`. Raises LinkError if it cannot have.

        An answer to an upload from before the last Welcome may come after it, with fewer rows: a
        Welcome alone says what the server has lost.
        """
        if next_seq < self._spool.first_unacked:
            return
        self._check(next_seq)
        if next_seq == self._spool.first_unacked:
            if self._window:
                self._deadline = min(self._deadline, now + _GAP_TIMEOUT)
            return
        self._spool.ack(next_seq)
        while self._window and self._window[0][0] <= next_seq:
            self._window.popleft()
        self._next = max(self._next, next_seq)
        self._deadline = now + _ACK_TIMEOUT if self._window else float("inf")

    def upload(self, now: float) -> Upload | None:
        """The next chunk if one is due and the window is open. `sent` must be called for it.

        Raises:
            SpoolError: the rows cannot be read.
        """
        if now >= self._deadline:
            self.go_back()
        if not self._due(now) or not self._open():
            return None
        chunk = self._spool.read(self._next, MAX_CHUNK_ROWS, CHUNK_BYTES)
        if chunk is None:
            return None
        place = (chunk.epoch, chunk.episode, chunk.first_seq, chunk.task)
        return Upload(*place, chunk.columns, chunk.tag.to_json())

    def sent(self, upload: Upload, now: float) -> None:
        """`upload` is on its way."""
        rows = len(next(iter(upload.columns.values())))
        self._next = upload.first_seq + rows
        self._window.append((self._next, sum(a.nbytes for a in upload.columns.values())))
        self._waiting_since = None
        if len(self._window) == 1:
            self._deadline = now + _ACK_TIMEOUT

    def _open(self) -> bool:
        waiting = sum(size for _, size in self._window)
        return not self._window or (len(self._window) < WINDOW_CHUNKS and waiting < WINDOW_BYTES)

    def _due(self, now: float) -> bool:
        if self._next >= self._spool.next_seq:
            self._waiting_since = None
            return False
        if self._waiting_since is None:
            self._waiting_since = now
        return now - self._waiting_since >= MAX_WAIT or self._spool.complete(self._next)

    def go_back(self) -> None:
        """Send again what has not been acknowledged."""
        self._next = self._spool.first_unacked
        self._window.clear()
        self._deadline = float("inf")

    def _check(self, next_seq: int) -> None:
        first, end = self._spool.first_unacked, self._spool.next_seq
        if not first <= next_seq <= end:
            lost = "the server has lost rows that it had stored, or is another one"
            why = lost if next_seq < first else "the spool is an old copy"
            raise LinkError(
                f"the server expects row {next_seq} of epoch {self._spool.epoch}, the spool goes "
                f"on at {first} and ends before {end}: {why}; to start afresh, move its directory "
                "away"
            )
