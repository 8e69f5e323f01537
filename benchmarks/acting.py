"""What one control step costs the robot: the exported policy on one core, batch 1."""

import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch

from agents.dreamer import Dreamer
from benchmarks.agents import dreamer
from benchmarks.machine import Payload, Row, load
from benchmarks.workload import ACTIONS, SPACES
from robot_client.actor_policy import ActorPolicy
from robot_client.bundle import Manifest, read_safetensors
from robot_client.clock import SystemClock
from robot_client.policy import OnnxGraphs
from robot_client.ports import Policy
from server.publisher import Publisher

# p50 and p99 in milliseconds of the fastest peer, danijar/dreamerv3 jitted for the CPU
PEERS = {("12M", "vectors"): (3.2, 4.4), ("12M", "image"): (7.6, 11.2), ("1M", "vectors"): (2.3, 0)}
WARMUP, STEPS = 20, 500


def measure(quick: bool = False) -> Payload:
    """One row a size and kind of observation."""
    sizes = ("tiny",) if quick else ("tiny", "1M", "12M", "25M")
    torch.set_num_threads(1)
    return {
        "rows": [
            _row(size, kind, strided, 50 if quick else STEPS)
            for size in sizes
            for kind, strided in (("vectors", False), ("image", False), ("image", True))
            if not (quick and strided)
        ]
    }


def _row(size: str, kind: str, strided: bool, steps: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        start = perf_counter()
        agent = dreamer(kind, size=size, strided=strided)
        manifest, blobs = published(Path(folder), agent, kind)
        export = perf_counter() - start
    graph, weights = blobs[manifest.graphs["policy"]], blobs[manifest.weights]
    start = perf_counter()
    graphs = OnnxGraphs(manifest, {"policy": graph}, read_safetensors(weights))
    policy = ActorPolicy(manifest, graphs, ACTIONS)
    build = perf_counter() - start
    wall, cpu = _steps(policy, kind, steps)
    p50, p99 = np.percentile(wall[WARMUP:], [50, 99])
    peer = (None, None) if strided else PEERS.get((size, kind), (None, None))
    return {
        "size": size,
        "observations": kind + (", strided" if strided else ""),
        "p50_ms": p50,
        "p99_ms": p99,
        "cpu_ms": cpu,
        "graph_kb": len(graph) / 1e3,
        "weights_kb": len(weights) / 1e3,
        "session_ms": 1e3 * build,
        "first_export_s": export,
        "load1": load(),
        "peer_p50_ms": peer[0],
        "peer_p99_ms": peer[1] or None,
    }


def published(folder: Path, agent: Dreamer, kind: str) -> tuple[Manifest, dict[str, bytes]]:
    """An agent's first version: its manifest, and its blobs by digest."""
    acting, clock = agent.acting(), SystemClock()
    publisher = Publisher(folder, "benchmark", "dreamer", acting, SPACES[kind], ACTIONS, clock)
    manifest = publisher.publish(0)
    return manifest, {blob.name: blob.read_bytes() for blob in (folder / "blobs").iterdir()}


def _steps(policy: Policy, kind: str, steps: int) -> tuple[np.ndarray, float]:
    """Milliseconds of each step, and the mean CPU milliseconds."""
    rng = np.random.default_rng(0)
    SPACES[kind].seed(0)
    obs: dict[str, Any] = SPACES[kind].sample()
    carry, wall = policy.init(), []
    used = process_time()
    for step in range(WARMUP + steps):
        start = perf_counter()
        _, carry, _ = policy.step(carry, obs, step == 0, rng, True)
        wall.append(1e3 * (perf_counter() - start))
    return np.array(wall), 1e3 * (process_time() - used) / len(wall)
