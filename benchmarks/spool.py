"""What one append costs the control thread: append-only segments against SQLite (WAL).

While one thread appends rows of a 64x64 camera and 32 numbers, another reads, makes durable and
acknowledges, as the sender does.
"""

import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from benchmarks.machine import Payload, Row
from robot_client.schema import Columns
from robot_client.spool import Spool

RATE = 500.0  # rows/s of the paced run; far above any robot, so that the run is short


def example_row() -> Columns:
    random = np.random.default_rng(0)
    return {
        "image": random.integers(0, 256, (64, 64, 3), np.uint8),
        "vector": random.standard_normal(32, np.float32),
        "action": np.zeros(4, np.float32),
        "action_requested": np.zeros(4, np.float32),
        "reward": np.zeros((), np.float32),
        "is_first": np.zeros((), np.bool_),
        "is_last": np.zeros((), np.bool_),
        "is_terminal": np.zeros((), np.bool_),
        "policy_version": np.zeros((), np.int64),
        "source": np.zeros((), np.uint8),
        "time_monotonic": np.zeros(()),
        "time_wall": np.zeros(()),
    }


class SqliteSpool:
    """The alternative: one table, one transaction per row, durable at checkpoints."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "spool.db"
        self._writer = self._connect()
        self._writer.execute("create table rows (seq integer primary key, episode, data blob)")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        return connection

    def append(self, episode: int, row: Columns) -> int:
        packed = [[k, a.dtype.name, a.shape, a.tobytes()] for k, a in row.items()]
        values = (episode, msgpack.packb(packed))
        return (
            self._writer.execute("insert into rows (episode, data) values (?, ?)", values).lastrowid
            or 0
        )

    def drain(self) -> None:
        with sqlite3.connect(self._path, isolation_level=None) as reader:
            reader.execute("pragma wal_checkpoint(passive)")
            rows = reader.execute("select seq, data from rows order by seq limit 64").fetchall()
            for _, data in rows:
                msgpack.unpackb(data)
            if rows:
                reader.execute("delete from rows where seq <= ?", (rows[-1][0],))
        reader.close()

    def close(self) -> None:
        self._writer.close()


def drain_segments(queue: Spool) -> None:
    chunk = queue.read(queue.first_unacked)
    if chunk is not None:
        queue.ack(chunk.first_seq + chunk.rows)


def time_appends(
    queue: Any, drain: Callable[[], None], rows: int, rate: float | None
) -> dict[str, float]:
    """Rows/s and latency of append in microseconds; `rate` paces the appends."""
    done = threading.Event()
    sender = threading.Thread(target=lambda: _until(done, drain))
    sender.start()
    row, pause = example_row(), threading.Event()
    latencies = np.empty(rows)
    begin = time.perf_counter()
    for i in range(rows):
        if rate is not None:
            pause.wait(max(0.0, begin + i / rate - time.perf_counter()))
        before = time.perf_counter()
        queue.append(i // 200, row)
        latencies[i] = time.perf_counter() - before
    seconds = time.perf_counter() - begin
    done.set()
    sender.join()
    queue.close()
    p50, p99, worst = np.percentile(latencies * 1e6, [50, 99, 100])
    return {"rows_per_s": rows / seconds, "p50_us": p50, "p99_us": p99, "max_us": worst}


def _until(done: threading.Event, drain: Callable[[], None]) -> None:
    while not done.wait(0.02):
        drain()


def measure(quick: bool = False) -> Payload:
    """One row a kind of spool and a pace."""
    rows = 500 if quick else 5000
    found: list[Row] = []
    for rate in (RATE, None):
        with tempfile.TemporaryDirectory(prefix=".bench-", dir=".") as folder:
            segments = Spool(Path(folder))
            result = time_appends(
                segments, lambda queue=segments: drain_segments(queue), rows, rate
            )
            found.append({"spool": "segments (ours)", "paced_rows_per_s": rate, **result})
        with tempfile.TemporaryDirectory(prefix=".bench-", dir=".") as folder:
            database = SqliteSpool(Path(folder))
            result = time_appends(database, database.drain, rows, rate)
            found.append({"spool": "SQLite", "paced_rows_per_s": rate, **result})
    row_bytes = sum(a.nbytes for a in example_row().values())
    return {"rows": found, "appended": rows, "row_bytes": row_bytes}
