"""How fast rows become durable, and how fast they come back as batches.

`python -m benchmarks.replay [--seconds 5] [--dir DIR]` prints one JSON object:

    ingest    rows/s acknowledged as durable, by number of robots and rows a message; client and
              gateway share this machine. Rows hold a 64x64 RGB picture and 32 float32.
    sample    milliseconds (median, p99) to draw a batch of 16 x 64 of the same rows, in one thread
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time  # wall time is what is measured
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from gymnasium import spaces

from robot_client.clock import SystemClock
from robot_client.messages import Ack, Event, Heartbeat, Hello, PolicyReport, Upload, decode, encode
from robot_client.schema import Chunk, Columns, space_to_json
from server.gateway import Gateway
from server.replay.sampler import SequenceSampler
from server.replay.store import ReplayStore
from server.replay.view import ReplayView

OBSERVATIONS = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (64, 64, 3), np.uint8),
        "joints": spaces.Box(-1, 1, (32,)),
    }
)
ACTIONS = spaces.Box(-1, 1, (6,))
WINDOW_ROWS = 128  # a robot sends so far ahead of its last acknowledgement


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


def make_rows(count: int, first: bool) -> Columns:
    rng = np.random.default_rng(0)
    flags = np.zeros(count, np.bool_)
    begins = flags.copy()
    begins[0] = first
    action = rng.random((count, 6), np.float32)
    return {
        "camera": rng.integers(0, 256, (count, 64, 64, 3), np.uint8),
        "joints": rng.random((count, 32), np.float32),
        "action": action,
        "action_requested": action,
        "reward": np.zeros(count, np.float32),
        "is_first": begins,
        "is_last": flags,
        "is_terminal": flags,
        "policy_version": np.zeros(count, np.int64),
        "source": np.zeros(count, np.uint8),
        "time_monotonic": np.zeros(count),
        "time_wall": np.zeros(count),
    }


def stream(address: str, robots: int, rows: int, seconds: float, result: Any) -> None:
    """Play some robots from one process; put rows/s into `result`."""
    context = zmq.Context()
    sockets = [context.socket(zmq.DEALER) for _ in range(robots)]
    first, later = make_rows(rows, True), make_rows(rows, False)
    space, action = space_to_json(OBSERVATIONS), space_to_json(ACTIONS)
    task = {"name": "bench", "episode_steps": None}
    for i, socket in enumerate(sockets):
        socket.linger = 0
        socket.sndhwm = 0
        socket.connect(address)
        hello = Hello(f"robot-{i}", "boot", space, action, 20.0, task, 0, 0, -1, "bench")
        socket.send_multipart(encode(hello))
        decode(socket.recv_multipart())
    poller = zmq.Poller()
    for socket in sockets:
        poller.register(socket, zmq.POLLIN)
    sent, acked = dict.fromkeys(sockets, 0), dict.fromkeys(sockets, 0)
    start = time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        for socket in sockets:
            while sent[socket] - acked[socket] < WINDOW_ROWS:
                columns = later if sent[socket] else first
                message = Upload("boot", 0, sent[socket], columns)
                socket.send_multipart(encode(message), copy=False)
                sent[socket] += rows
        for socket, _ in poller.poll(100):
            answer = decode(socket.recv_multipart())
            assert isinstance(answer, Ack), answer
            acked[socket] = answer.next_seq
    result.value = sum(acked.values()) / (now - start)
    context.destroy(linger=0)


async def ingest(path: Path, robots: int, rows: int, seconds: float) -> float:
    gateway = Gateway(
        "tcp://127.0.0.1:*",
        Everybody(),
        lambda experiment: path / experiment,
        lambda experiment, digest: path / digest,
        SystemClock(),
    )
    await gateway.start()
    spawn = multiprocessing.get_context("spawn")
    result = spawn.Value("d", 0.0)
    client = spawn.Process(target=stream, args=(gateway.address, robots, rows, seconds, result))
    client.start()
    await asyncio.to_thread(client.join)
    await gateway.stop()
    return round(result.value)


def sample(path: Path, chunk: int, batches: int) -> dict[str, float]:
    store = ReplayStore(path)
    columns = make_rows(chunk, False)
    total = 8192
    for seq in range(0, total, chunk):
        begins = np.zeros(chunk, np.bool_)
        begins[0] = seq % 512 == 0
        rows = {**columns, "is_first": begins}
        store.append("robot", Chunk("boot", seq // 512, seq, rows))
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
    return {"median_ms": round(median, 3), "p99_ms": round(p99, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5.0, help="per ingestion figure")
    parser.add_argument("--dir", type=Path, help="where to write; default a temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        path = Path(folder)
        report: dict[str, Any] = {"ingest": {}, "sample": {}}
        for robots, rows in ((1, 1), (8, 1), (32, 1), (1, 16), (8, 16), (32, 16)):
            name = f"{robots} robots, {rows} rows a message"
            found = asyncio.run(ingest(path / name, robots, rows, args.seconds))
            report["ingest"][name] = found
        for chunk in (1, 8, 16, 64):
            report["sample"][f"chunks of {chunk}"] = sample(path / f"sample-{chunk}", chunk, 200)
        print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
