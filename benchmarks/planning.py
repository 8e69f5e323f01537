"""What a planned action costs the robot, and how much cheaper an actor's is.

`rows` are decisions in PlaNet's model of the paper's size by method, candidates, horizon and
iterations. `ratio` compares planner and actor AT EQUAL MODEL SIZE: the first Dreamer has PlaNet's
model (200 deterministic, 30 stochastic numbers), so both ways run in the same bundle, and PlaNet's
own bundle stands beside it. No budget, one core, ONNX Runtime, as a robot runs them. `deadline` is
the paper's plan in PlaNet's model when there are 20 ms for it.
"""

from dataclasses import asdict, replace
from time import perf_counter
from typing import Any

import numpy as np
import torch

from agents.planet import LAPTOP_PLAN
from benchmarks.acting import FEW_STEPS, FEW_WARMUP, STEPS, Bundle, bundle, plan_name, ready, timed
from benchmarks.agents import build
from benchmarks.machine import Payload, Row, load
from benchmarks.workload import SPACES
from robot_client.act import Act
from robot_client.bundle import PlanSettings
from robot_client.clock import SystemClock

BUDGET_S = 0.020
PAPER = PlanSettings()  # PlaNet's: CEM, 1000 candidates, 12 steps, 10 iterations
QUICK = PlanSettings(candidates=32, horizon=4, iterations=2, elites=4)
SEARCHES: tuple[tuple[str, int, int, int], ...] = (
    ("cem", 1000, 12, 10),
    ("cem", 1000, 12, 4),
    ("cem", 1000, 6, 10),
    ("cem", 256, 12, 4),
    ("cem", 128, 12, 10),
    ("cem", 128, 12, 4),
    ("cem", 128, 6, 4),
    ("cem", 32, 12, 4),
    ("shooting", 128, 12, 4),
    ("mppi", 128, 12, 4),
    ("icem", 128, 12, 4),
)


def measure(quick: bool = False) -> Payload:
    """Plans by their size, and planner against actor."""
    torch.set_num_threads(1)
    decisions = 20 if quick else 500
    sold = _bundle("planet", "laptop" if quick else "", "vectors")
    within = [
        _deadline(sold, replace(PAPER, method=method), BUDGET_S, decisions)
        for method in ("shooting", "cem", "mppi", "icem")
    ]
    return {"rows": _searches(sold, quick), "ratio": _ratios(quick), "deadline": within}


def _deadline(sold: Bundle, plan: PlanSettings, budget_s: float, decisions: int) -> Row:
    """A plan that has to be ready in time: how late it came, and how much of it was done."""
    act = Act("planner", asdict(plan), budget_s, SystemClock())
    policy = ready(sold, act)
    rng, carry = np.random.default_rng(0), policy.init()
    obs: dict[str, Any] = SPACES["vectors"].sample()
    took, done = [], []
    for step in range(FEW_WARMUP + decisions):
        start = perf_counter()
        _, carry, _ = policy.step(carry, obs, step == 0, rng, True)
        took.append(1e3 * (perf_counter() - start))
        done.append(int(carry.state["plan/candidates"][0]))
    p50, p99 = np.percentile(took[FEW_WARMUP:], [50, 99])
    return {
        "method": plan.method,
        "budget_ms": 1e3 * budget_s,
        "decisions": decisions,
        "p50_ms": p50,
        "p99_ms": p99,
        "max_ms": max(took[FEW_WARMUP:]),
        "planned_share": np.mean(done[FEW_WARMUP:]) / (plan.candidates * plan.iterations),
        "least_candidates": min(done[FEW_WARMUP:]),
        "load1": load(),
    }


def _searches(sold: Bundle, quick: bool) -> list[Row]:
    plans = [QUICK] if quick else [_plan(*search) for search in SEARCHES]
    return [_search(sold, plan, 2 if quick else FEW_STEPS) for plan in plans]


def _plan(method: str, candidates: int, horizon: int, iterations: int) -> PlanSettings:
    fields: dict[str, Any] = {"method": method, "horizon": horizon, "iterations": iterations}
    return PlanSettings(candidates=candidates, elites=max(1, candidates // 10), **fields)


def _search(sold: Bundle, plan: PlanSettings, steps: int) -> Row:
    wall, cpu = timed(ready(sold, _planner(plan)), "vectors", steps)
    p50 = float(np.median(wall))
    return {
        "method": plan.method,
        "candidates": plan.candidates,
        "horizon": plan.horizon,
        "iterations": plan.iterations,
        "p50_ms": p50,
        "max_ms": float(wall.max()),
        "cpu_ms": cpu,
        "decisions_per_s": 1e3 / p50,
        "load1": load(),
    }


def _ratios(quick: bool) -> list[Row]:
    if quick:
        return _compare("laptop", "vectors", [QUICK], 2, 50)
    return [
        row
        for preset, plans in (("laptop", [LAPTOP_PLAN]), ("", [PAPER, LAPTOP_PLAN]))
        for kind in SPACES
        for row in _compare(preset, kind, plans, FEW_STEPS, STEPS)
    ]


def _compare(
    preset: str, kind: str, plans: list[PlanSettings], decisions: int, steps: int
) -> list[Row]:
    """The first Dreamer's actor against plans in its own model and in PlaNet's."""
    dreamer, planet = _bundle("dreamer-v1", preset, kind), _bundle("planet", preset, kind)
    rows = []
    for model, sold in (("planet", planet), ("dreamer-v1", dreamer)):
        for plan in plans:
            actor, _ = timed(ready(dreamer, Act("actor")), kind, steps)
            planned, _ = timed(ready(sold, _planner(plan)), kind, decisions)
            row = {
                "settings": preset or "paper",
                "observations": kind,
                "plans_in": model,
                "plan": plan_name(plan),
                "planner_p50_ms": float(np.median(planned)),
                "actor_p50_ms": float(np.median(actor)),
                "ratio": float(np.median(planned) / np.median(actor)),
                "load1": load(),
            }
            rows.append(row)
    return rows


def _bundle(name: str, preset: str, kind: str) -> Bundle:
    return bundle(build(name, kind, preset=preset), name, kind)


def _planner(plan: PlanSettings) -> Act:
    return Act("planner", asdict(plan))
