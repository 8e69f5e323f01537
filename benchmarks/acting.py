"""What one control step costs the robot: exported graphs on one core, batch 1.

`rows` are Dreamer's policy by size; `agents` is every agent as it acts unless it is told otherwise,
PlaNet by planning. What planning costs is in `benchmarks.planning`.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch

from agents.agent import Agent
from agents.registry import AGENTS
from benchmarks.agents import build, dreamer
from benchmarks.machine import Payload, Row, load
from benchmarks.workload import ACTIONS, SPACES
from robot_client.act import Act
from robot_client.bundle import Manifest, PlanSettings, read_safetensors
from robot_client.clock import SystemClock
from robot_client.policy import OnnxGraphs
from robot_client.ports import Policy
from server.publisher import Publisher

# p50 and p99 in milliseconds of the fastest peer, danijar/dreamerv3 jitted for the CPU
PEERS = {("12M", "vectors"): (3.2, 4.4), ("12M", "image"): (7.6, 11.2), ("1M", "vectors"): (2.3, 0)}
WARMUP, STEPS = 20, 500
FEW_WARMUP, FEW_STEPS = 1, 10  # for plans, which take a hundred times as long


@dataclass(frozen=True)
class Bundle:
    """An agent's first version as it travels: its manifest, and its blobs by digest."""

    manifest: Manifest
    blobs: dict[str, bytes]
    export_s: float

    def graph_kb(self, act: Act) -> float:
        """Of the graphs that acting takes."""
        names = act.graphs(self.manifest)
        return sum(len(self.blobs[self.manifest.graphs[name]]) for name in names) / 1e3

    @property
    def weights_kb(self) -> float:
        """Of all graphs, and of the probes."""
        return len(self.blobs[self.manifest.weights]) / 1e3


def measure(quick: bool = False) -> Payload:
    """One row a size and kind of observation, and one an agent, preset and kind."""
    torch.set_num_threads(1)
    return {"rows": _sizes(quick), "agents": _agents(quick)}


def _sizes(quick: bool) -> list[Row]:
    return [
        _row(size, kind, strided, 50 if quick else STEPS)
        for size in (("tiny",) if quick else ("tiny", "1M", "12M", "25M"))
        for kind, strided in (("vectors", False), ("image", False), ("image", True))
        if not quick or kind == "vectors"
    ]


def _agents(quick: bool) -> list[Row]:
    if quick:
        return [_agent_row("planet", "laptop", "vectors", 2)]
    return [
        _agent_row(name, preset, kind, STEPS)
        for name in AGENTS
        if name != "random"
        for preset in ("laptop", "")
        for kind in SPACES
    ]


def _row(size: str, kind: str, strided: bool, steps: int) -> Row:
    sold = bundle(dreamer(kind, size=size, strided=strided), "dreamer", kind)
    peer = (None, None) if strided else PEERS.get((size, kind), (None, None))
    return {
        "size": size,
        "observations": kind + (", strided" if strided else ""),
        **cost(sold, Act(), kind, steps),
        "peer_p50_ms": peer[0],
        "peer_p99_ms": peer[1] or None,
    }


def _agent_row(name: str, preset: str, kind: str, steps: int) -> Row:
    agent: Any = build(name, kind, preset=preset)
    sold, act = bundle(agent, name, kind), Act()
    plans = sold.manifest.kind == "planner"
    found = cost(sold, act, kind, min(steps, FEW_STEPS) if plans else steps)
    return {
        "agent": name,
        "settings": preset or "paper",
        "size": agent.config.size,
        "observations": kind,
        "acts": plan_name(act.settings(sold.manifest)) if plans else "actor",
        **found,
        "decisions_per_s": 1e3 / found["p50_ms"],
    }


def cost(sold: Bundle, act: Act, kind: str, steps: int) -> Row:
    """What a robot pays for acting so, in time and in bytes."""
    start = perf_counter()
    policy = ready(sold, act)
    build_s = perf_counter() - start
    wall, cpu = timed(policy, kind, steps)
    p50, p99 = np.percentile(wall, [50, 99])
    return {
        "p50_ms": p50,
        "p99_ms": p99,
        "cpu_ms": cpu,
        "graph_kb": sold.graph_kb(act),
        "weights_kb": sold.weights_kb,
        "session_ms": 1e3 * build_s,
        "first_export_s": sold.export_s,
        "load1": load(),
    }


def bundle(agent: Agent, name: str, kind: str) -> Bundle:
    """Publish an agent for the space called `kind`."""
    start, clock = perf_counter(), SystemClock()
    with tempfile.TemporaryDirectory() as folder:
        acting, here = agent.acting(), Path(folder)
        publisher = Publisher(here, "benchmark", name, acting, SPACES[kind], ACTIONS, clock)
        manifest = publisher.publish(0)
        blobs = {blob.name: blob.read_bytes() for blob in (here / "blobs").iterdir()}
    return Bundle(manifest, blobs, perf_counter() - start)


def ready(sold: Bundle, act: Act) -> Policy:
    """The policy as a robot builds it."""
    manifest, blobs = sold.manifest, sold.blobs
    graphs = {name: blobs[manifest.graphs[name]] for name in act.graphs(manifest)}
    loaded = OnnxGraphs(manifest, graphs, read_safetensors(blobs[manifest.weights]))
    return act.policy(manifest, loaded, ACTIONS)


def timed(policy: Policy, kind: str, steps: int) -> tuple[np.ndarray, float]:
    """(steps,) wall milliseconds after a warm-up, and the mean CPU milliseconds."""
    warmup = WARMUP if steps > FEW_STEPS else FEW_WARMUP
    rng = np.random.default_rng(0)
    SPACES[kind].seed(0)
    obs: dict[str, Any] = SPACES[kind].sample()
    carry, wall = policy.init(), []
    used = process_time()
    for step in range(warmup + steps):
        start = perf_counter()
        _, carry, _ = policy.step(carry, obs, step == 0, rng, True)
        wall.append(1e3 * (perf_counter() - start))
    return np.array(wall[warmup:]), 1e3 * (process_time() - used) / len(wall)


def plan_name(plan: PlanSettings) -> str:
    """Method, and candidates x horizon x iterations."""
    return f"{plan.method} {plan.candidates}x{plan.horizon}x{plan.iterations}"
