"""What planning costs the robot: a model's exported graphs on one core, and a budget that holds.

The rows plan without limit: decisions per second by method, candidates, horizon and iterations,
with what a step of the actor takes beside them. In `deadline` the same planner has 20 ms.
"""

import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from agents.agent import Acting, Graph, Tensors
from benchmarks.machine import Payload, Row, load
from benchmarks.workload import ACTIONS, VECTORS
from robot_client.act import Act
from robot_client.bundle import Manifest, Planning, PlanSettings, Signature, TensorSpec
from robot_client.bundle import read_safetensors as read
from robot_client.clock import SystemClock
from robot_client.policy import OnnxGraphs
from robot_client.ports import Policy
from server.publisher import Publisher

BUDGET_S = 0.020
WARMUP = 5
METHODS = ("shooting", "cem", "mppi", "icem")


class Recurrent(nn.Module):
    """A GRU of PlaNet's width with a reward head: the least that imagination can cost."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(ACTIONS.shape[0] + VECTORS["vector"].shape[0], width)
        self.actor = nn.Linear(width, ACTIONS.shape[0])
        self.reward = nn.Sequential(nn.Linear(width, width), nn.ELU(), nn.Linear(width, 2))


class Part(Graph):
    def __init__(self, core: Recurrent) -> None:
        super().__init__()
        self.core = core

    def filtered(self, inputs: Tensors) -> Tensors:
        keep = (~inputs["in_is_first"]).float().unsqueeze(-1)
        seen = torch.cat([keep * inputs["in_prev_action"], inputs["in_vector"]], -1)
        return {"out_carry_h": self.core.cell(seen, keep * inputs["in_carry_h"])}


class Filter(Part):
    def forward(self, inputs: Tensors) -> Tensors:
        return self.filtered(inputs)


class Chooses(Part):
    def forward(self, inputs: Tensors) -> Tensors:
        found = self.filtered(inputs)
        return {"out_action": torch.tanh(self.core.actor(found["out_carry_h"])), **found}


class Imagine(Part):
    def forward(self, inputs: Tensors) -> Tensors:
        action = inputs["in_action"]
        unseen = action.new_zeros(action.shape[0], VECTORS["vector"].shape[0])
        h = self.core.cell(torch.cat([action, unseen], -1), inputs["in_carry_h"])
        heads = self.core.reward(h)
        goes_on = torch.sigmoid(heads[:, 1])
        return {"out_carry_h": h, "out_reward": heads[:, 0], "out_continue": goes_on}


def recurrent(width: int = 200) -> Acting:
    """A model with random weights."""
    core = Recurrent(width)
    graphs = {"policy": Chooses(core), "filter": Filter(core), "imagine": Imagine(core)}
    carry = {"h": TensorSpec("float32", (width,))}
    return Acting(Signature(carry), graphs, Planning(settings=PlanSettings(warm_start=True)))


def measure(quick: bool = False) -> Payload:
    """The tables for a recurrent network of 200 units."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return tables({"gru 200": recurrent()}, VECTORS, quick)


def tables(models: dict[str, Acting], observed: spaces.Dict, quick: bool = False) -> Payload:
    """For each model one row a way to plan, and one with a budget."""
    counts = (100,) if quick else (100, 300, 1000)
    shapes = list(product(counts, (12,), (3,) if quick else (3, 10)))
    if not quick:
        shapes.append((300, 25, 3))
    rows, due = [], []
    for name, acting in models.items():
        bundle = exported(acting, observed)
        rows.append(_speed(name, bundle, observed, "actor", {}, 50))
        for method, (candidates, horizon, iterations) in product(METHODS, shapes):
            plan = {"candidates": candidates, "horizon": horizon, "iterations": iterations}
            plan |= {"method": method, "elites": candidates // 10}
            rows.append(_speed(name, bundle, observed, "planner", plan, 5 if quick else 20))
        for method in METHODS:
            due.append(_deadline(name, bundle, observed, method, 30 if quick else 500))
    return {"rows": rows, "deadline": due}


Bundle = tuple[Manifest, dict[str, bytes]]


def exported(acting: Acting, observed: spaces.Dict) -> Bundle:
    """A first version: its manifest, and its blobs by digest."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        publisher = Publisher(folder, "bench", "model", acting, observed, ACTIONS, SystemClock())
        manifest = publisher.publish(0)
        return manifest, {blob.name: blob.read_bytes() for blob in (folder / "blobs").iterdir()}


def _policy(bundle: Bundle, act: Act) -> Policy:
    manifest, blobs = bundle
    graphs = {name: blobs[manifest.graphs[name]] for name in act.graphs(manifest)}
    sessions = OnnxGraphs(manifest, graphs, read(blobs[manifest.weights]))
    return act.policy(manifest, sessions, ACTIONS)


def _speed(
    name: str, bundle: Bundle, observed: spaces.Dict, kind: Any, plan: dict[str, Any], steps: int
) -> Row:
    policy = _policy(bundle, Act(kind, plan))
    seconds = np.array([took for took, _ in _steps(policy, observed, steps)])
    return {
        "model": name,
        "method": plan.get("method", kind),
        "candidates": plan.get("candidates"),
        "horizon": plan.get("horizon"),
        "iterations": plan.get("iterations"),
        "p50_ms": 1e3 * np.median(seconds),
        "decisions_s": 1 / np.mean(seconds),
        "load1": load(),
    }


def _deadline(name: str, bundle: Bundle, observed: spaces.Dict, method: str, decisions: int) -> Row:
    plan = {"method": method, "candidates": 1000, "horizon": 12, "iterations": 10, "elites": 100}
    act = Act("planner", plan, BUDGET_S, SystemClock())
    found = list(_steps(_policy(bundle, act), observed, decisions))
    took = np.array([1e3 * seconds for seconds, _ in found])
    done = np.array([state["plan/candidates"][0] for _, state in found])
    p50, p99 = np.percentile(took, [50, 99])
    return {
        "model": name,
        "method": method,
        "budget_ms": 1e3 * BUDGET_S,
        "decisions": decisions,
        "p50_ms": p50,
        "p99_ms": p99,
        "max_ms": took.max(),
        "planned_share": done.mean() / 10_000,
        "least_candidates": int(done.min()),
        "load1": load(),
    }


def _steps(policy: Policy, observed: spaces.Dict, steps: int) -> Iterator[tuple[float, Any]]:
    """Seconds of each decision, and the state that it left."""
    rng = np.random.default_rng(0)
    observed.seed(0)
    obs: dict[str, Any] = observed.sample()
    carry = policy.init()
    for step in range(WARMUP + steps):
        start = perf_counter()
        _, carry, _ = policy.step(carry, obs, step == 0, rng, True)
        if step >= WARMUP:
            yield perf_counter() - start, carry.state
