"""Lockstep learning runs: every agent on every task, several seeds each, as JSON with a plot.

python -m benchmarks.learning [pendulum/dreamer] [pixels/planet ...] [--seeds 0 1 2]

A result goes to benchmarks/results/learning_<task>_<agent>.json, its curve beside it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks import machine, plots
from server.lockstep import preset, run

AGENTS = ("dreamer", "daydreamer", "dreamer-v1", "planet")


@dataclass(frozen=True)
class Task:
    """What is to be learned, and for how long.

    Args:
        robots: specs; several learn by turns with one network.
        steps: of the robots in all.
        ratio: rows replayed per row.
        config: fields of every agent's configuration.
        options: of the robots.
        min_rows: before the first update.
    """

    robots: tuple[str, ...]
    steps: int
    ratio: float
    config: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    min_rows: int = 300


TASKS: dict[str, Task] = {
    "pendulum": Task(("gym:Pendulum-v1",), 5000, 128.0),
    "pixels": Task(("pointmass",), 3000, 96.0, {"keys": "camera"}, {"dims": 1, "camera": True}),
    "pointmass": Task(("pointmass",), 4000, 96.0),
    "both": Task(("pointmass", "gym:Pendulum-v1"), 8000, 256.0),
}
# Agents whose update is cheap may make more of them.
RATIOS = {"planet": 256.0}
RUNS = (
    *(f"{task}/{agent}" for task in ("pendulum", "pixels") for agent in AGENTS),
    "pointmass/dreamer",
    "both/planet",
)


def measure(name: str, seeds: list[int]) -> dict[str, Any]:
    """Train and evaluate the agent of a run with each seed."""
    place, agent = name.split("/")
    task = TASKS[place]
    results = []
    for seed in seeds:
        cpu = time.process_time()
        result = run(
            agent,
            robots=task.robots,
            steps=task.steps,
            seed=seed,
            config=preset(agent, "laptop") | task.config,
            options=task.options,
            train_ratio=RATIOS.get(agent, task.ratio),
            min_rows=task.min_rows,
            max_debt=1_000_000,
        )
        result["cpu_seconds"] = round(time.process_time() - cpu, 1)
        results.append(result)
        print(name, *summary(result), sep="\n  ", flush=True)
    rows = [row for result in results for row in summary(result)]
    return {"rows": rows, "runs": results}


def summary(result: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each robot of a run."""
    parts = result.get("robots") or {result["robot"]: result}
    return [
        {
            "robot": robot,
            "seed": result["job"]["seed"],
            "steps": result["steps"],
            "updates": result["updates"],
            "cpu_seconds": result["cpu_seconds"],
            "first_mean_return": sum(value for _, value in part["curve"][:3]) / 3,
            "evaluation_mean": part["evaluation_mean"],
        }
        for robot, part in parts.items()
    ]


def curves(payload: dict[str, Any]) -> dict[str, list[Any]]:
    """Label -> one curve per seed, of a payload of `measure`."""
    first = payload["runs"][0]
    agent = first["job"]["agent"]
    if "robots" not in first:
        return {agent: [result["curve"] for result in payload["runs"]]}
    robots = first["robots"]
    return {
        f"{agent}, {robot}": [result["robots"][robot]["curve"] for result in payload["runs"]]
        for robot in robots
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(RUNS)}; none: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    got = parser.parse_args()
    unknown = sorted(set(got.names) - set(RUNS))
    if unknown:
        parser.error(f"no run {unknown[0]!r}; there are: {', '.join(RUNS)}")
    for name in got.names or RUNS:
        payload = measure(name, got.seeds)
        file = "learning_" + name.replace("/", "_").replace("-", "_")
        machine.write(file, payload | {"seeds": got.seeds})
        plots.learning_curve(file, curves(payload), title=name)


if __name__ == "__main__":
    main()
