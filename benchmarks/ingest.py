"""How fast rows become durable, how fast they come back, and whether 32 robots are kept up with.

    rows        rows/s acknowledged as durable, by number of streams and rows a message, from
                clients that do nothing but send; with the CPU time of both sides a row
    robots      32 real links with their spools at 20 Hz: rows/s, rows left behind, and how long
                after it was recorded a row was known to be safe
    sampling    milliseconds to draw a batch of 16 x 64 rows, in one thread

Client and server share the machine. A row holds a random 64x64 RGB picture and 32 float32.
"""

import asyncio
import multiprocessing
import tempfile
import threading
import time  # wall time is what is measured
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from benchmarks.machine import Payload, Row, load
from benchmarks.workload import ACTIONS, CAMERA_AND_JOINTS, EPISODE_ROWS, filled, make_rows
from robot_client.clock import SystemClock
from robot_client.errors import BundleError
from robot_client.link import Link
from robot_client.messages import (
    Ack,
    Event,
    Frame,
    Heartbeat,
    Hello,
    PolicyReport,
    Upload,
    decode,
    encode,
)
from robot_client.schema import NO_TAG, Chunk, Tag, space_to_json
from robot_client.spool import Spool
from server.gateway import Gateway
from server.replay.sampler import SequenceSampler
from server.replay.view import ReplayView

WINDOW_ROWS = 128  # a stream is so far ahead of its last acknowledgement
CONTROL_HZ = 20.0
PROCESSES = 4  # that the real links are spread over
# rows/s accepted, not durable, by rows a message: openpi-client 0.1.2
PEER = {1: 3658, 16: 24920}
PEER_SAMPLE_MS = 1.3  # sheeprl, memory-mapped
SPAWN = multiprocessing.get_context("spawn")


def measure(quick: bool = False) -> Payload:
    """See the module."""
    cases = ((1, 1), (8, 1), (32, 1), (1, 16), (8, 16), (32, 16))
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=".") as folder:
        path = Path(folder)
        rows = [
            asyncio.run(ingest(path / f"{streams}-{size}", streams, size, 1.0 if quick else 4.0))
            for streams, size in (cases[:1] if quick else cases)
        ]
        robots, seconds = (2, 2.0) if quick else (32, 15.0)
        links = [asyncio.run(ingest_links(path / "links", robots, seconds))]
        sampling = [
            sample(path / f"sample-{chunk}", chunk, 20 if quick else 200)
            for chunk in ((16,) if quick else (1, 16, 64))
        ]
    return {"rows": rows, "robots": links, "sampling": sampling}


class Everybody:
    """A directory with one experiment."""

    def admit(self, robot: str, hello: Hello) -> str:
        return "bench"

    def joined(self, robot: str, experiment: str) -> None: ...

    def stored(self, robot: str, experiment: str, chunk: Chunk) -> None: ...

    def learner_state(self, experiment: str) -> str:
        return "none"

    def policy_reported(self, robot: str, report: PolicyReport) -> None: ...

    def event(self, robot: str, experiment: str, event: Event) -> None: ...

    def heartbeat(self, robot: str, experiment: str, heartbeat: Heartbeat) -> None: ...


def make_gateway(path: Path) -> Gateway:
    return Gateway(
        "tcp://127.0.0.1:*",
        Everybody(),
        lambda experiment: path / experiment,
        lambda experiment, digest: path / digest,
        SystemClock(),
    )


def hello(robot: str) -> Hello:
    space, action = space_to_json(CAMERA_AND_JOINTS), space_to_json(ACTIONS)
    task = {"name": "bench", "episode_steps": None}
    return Hello(robot, "boot", space, action, CONTROL_HZ, task, 0, 0, -1, "bench")


# Streams of ready-made messages.


def stream(address: str, streams: int, rows: int, seconds: float, result: Any) -> None:
    """Play all streams from one process; put rows/s and CPU seconds a row into `result`."""
    context = zmq.Context()
    sockets = [_joined(context, address, f"robot-{i}") for i in range(streams)]
    first, later = (make_rows(CAMERA_AND_JOINTS, rows, begins) for begins in (True, False))
    poller = zmq.Poller()
    for socket in sockets:
        poller.register(socket, zmq.POLLIN)
    sent, acked = dict.fromkeys(sockets, 0), dict.fromkeys(sockets, 0)
    start, used = time.perf_counter(), time.process_time()
    while (now := time.perf_counter()) < start + seconds:
        for socket in sockets:
            while sent[socket] - acked[socket] < WINDOW_ROWS:
                columns = later if sent[socket] else first
                frames: list[Frame] = encode(Upload("boot", 0, sent[socket], "", columns))
                socket.send_multipart(frames, copy=False)
                sent[socket] += rows
        for socket, _ in poller.poll(100):
            answer = decode(socket.recv_multipart())
            assert isinstance(answer, Ack), answer
            acked[socket] = answer.next_seq
    total = sum(acked.values())
    result[:] = [total / (now - start), (time.process_time() - used) / total]
    context.destroy(linger=0)


def _joined(context: "zmq.Context[Any]", address: str, robot: str) -> "zmq.Socket[Any]":
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.sndhwm = 0
    socket.connect(address)
    socket.send_multipart(encode(hello(robot)))
    decode(socket.recv_multipart())
    return socket


async def ingest(path: Path, streams: int, rows: int, seconds: float) -> Row:
    """Durable rows/s from `streams` streams, `rows` rows a message."""
    gateway = make_gateway(path)
    await gateway.start()
    result = SPAWN.Array("d", 2)
    arguments = (gateway.address, streams, rows, seconds, result)
    client = SPAWN.Process(target=stream, args=arguments)
    used = time.process_time()
    client.start()
    await asyncio.to_thread(client.join)
    used = time.process_time() - used
    await gateway.stop()
    rate, per_row = result
    return {
        "streams": streams,
        "rows_a_message": rows,
        "rows_per_s": rate,
        "client_us_a_row": 1e6 * per_row,
        "server_us_a_row": 1e6 * used / (rate * seconds),
        "load1": load(),
        "peer_rows_per_s": PEER[rows],
    }


# Real links.


class TimedSpool(Spool):
    """A spool that keeps how long each row took from its append to its acknowledgement."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.latencies: list[float] = []
        self._times: deque[float] = deque()

    def append(self, episode: int, row: Any, tag: Tag = NO_TAG) -> int:
        self._times.append(time.perf_counter())
        return super().append(episode, row, tag)

    def ack(self, next_seq: int) -> None:
        freed, now = next_seq - self.first_unacked, time.perf_counter()
        super().ack(next_seq)
        self.latencies += [now - self._times.popleft() for _ in range(freed)]


class NoInbox:
    """Takes no policies."""

    def offered(self, manifest: Any) -> list[tuple[str, int]]:
        return []

    def received(self, digest: str, data: bytes) -> None:
        raise BundleError("nothing was asked for")

    def complete(self, manifest: Any) -> None: ...


def robots(address: str, folder: str, names: list[str], seconds: float, results: Any) -> None:
    """Record and send at 20 Hz with the robot client's own spool and link; one process."""
    spools = [TimedSpool(Path(folder) / name) for name in names]
    links = [_link(address, name, spool) for name, spool in zip(names, spools, strict=True)]
    for link in links:
        link.start()
    columns = make_rows(CAMERA_AND_JOINTS, 1, False)
    row = {name: column[0] for name, column in columns.items()}
    tick, start = 0, time.perf_counter()
    pause = threading.Event()
    while time.perf_counter() < start + seconds:
        begins = np.array(tick % EPISODE_ROWS == 0)
        for spool in spools:
            spool.append(tick // EPISODE_ROWS, row | {"is_first": begins})
        tick += 1
        pause.wait(max(0.0, start + tick / CONTROL_HZ - time.perf_counter()))
    backlog = sum(spool.backlog for spool in spools)
    errors = [link.error for link in links if link.error]
    for link in links:
        link.close()
    latencies = [latency for spool in spools for latency in spool.latencies]
    results.put({"rows": tick * len(names), "backlog": backlog, "ms": latencies, "errors": errors})


def _link(address: str, name: str, spool: Spool) -> Link:
    beat = Heartbeat(0, -1, "fresh", "", 0, CONTROL_HZ, 0, 0, -1.0, 0.0, "", 0)
    return Link(address, hello(name), spool, NoInbox(), lambda: beat, print, SystemClock())


async def ingest_links(path: Path, count: int, seconds: float) -> Row:
    """`count` robots at CONTROL_HZ, spread over a few processes."""
    gateway = make_gateway(path)
    await gateway.start()
    results = SPAWN.Queue()
    names = [f"robot-{i}" for i in range(count)]
    shares = [names[i::PROCESSES] for i in range(PROCESSES) if names[i::PROCESSES]]
    clients = [
        SPAWN.Process(target=robots, args=(gateway.address, str(path), share, seconds, results))
        for share in shares
    ]
    used = time.process_time()
    for client in clients:
        client.start()
    found = [await asyncio.to_thread(results.get) for _ in clients]
    for client in clients:
        await asyncio.to_thread(client.join)
    used = time.process_time() - used
    await gateway.stop()
    errors = [error for part in found for error in part["errors"]]
    assert not errors, errors
    total = sum(part["rows"] for part in found)
    p50, p99 = np.percentile([1e3 * ms for part in found for ms in part["ms"]], [50, 99])
    return {
        "robots": count,
        "hz": CONTROL_HZ,
        "rows_per_s": total / seconds,
        "rows_behind": sum(part["backlog"] for part in found),
        "ack_p50_ms": p50,
        "ack_p99_ms": p99,
        "server_us_a_row": 1e6 * used / total,
        "load1": load(),
    }


# Reading back.


def sample(path: Path, chunk: int, batches: int) -> Row:
    """Draw batches from rows that were stored `chunk` at a time."""
    store = filled(path, CAMERA_AND_JOINTS, 8192, chunk)
    view = ReplayView(store)
    view.refresh()
    sampler = SequenceSampler(view, 16, 64, (), np.random.default_rng(0))
    took = []
    for _ in range(batches + 10):
        start = time.perf_counter()
        sampler.sample()
        took.append(1000 * (time.perf_counter() - start))
    store.close()
    median, p99 = np.percentile(took[10:], [50, 99])
    return {"rows_a_chunk": chunk, "p50_ms": median, "p99_ms": p99, "peer_p50_ms": PEER_SAMPLE_MS}
