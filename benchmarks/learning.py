"""Lockstep learning runs: every agent on every task, several seeds each, as JSON with a plot.

python -m benchmarks.learning [pendulum/dreamer] [pixels/planet ...] [--seeds 0 1 2]

A result goes to benchmarks/results/learning_<task>_<agent>.json; learning_<task>.png shows all
agents' curves.
"""

from __future__ import annotations

import argparse
import json
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
        min_rows: before the first update, unless the agent is in `PATIENT`.
    """

    robots: tuple[str, ...]
    steps: int
    ratio: float
    config: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    min_rows: int = 300


TASKS: dict[str, Task] = {
    "pendulum": Task(("gym:Pendulum-v1",), 5000, 128.0),
    "pixels": Task(("pointmass",), 3000, 80.0, {"keys": "camera"}, {"dims": 1, "camera": True}),
    "pointmass": Task(("pointmass",), 4000, 96.0),
    "both": Task(("pointmass", "gym:Pendulum-v1"), 8000, 128.0),
}
# A tanh policy without an entropy bonus cannot come back from what a young model made it believe.
PATIENT = {"dreamer-v1": 1000}
# An agent whose update is cheap may make more of them.
EAGER = {"planet": 2}
RUNS = (
    *(f"{task}/{agent}" for task in ("pendulum", "pixels") for agent in AGENTS),
    "pointmass/dreamer",
    "both/planet",
)


def train(name: str, seed: int) -> dict[str, Any]:
    """Train and evaluate the agent of a run with one seed."""
    place, agent = name.split("/")
    task, cpu = TASKS[place], time.process_time()
    result = run(
        agent,
        robots=task.robots,
        steps=task.steps,
        seed=seed,
        config=preset(agent, "laptop") | task.config,
        options=task.options,
        train_ratio=EAGER.get(agent, 1) * task.ratio,
        min_rows=PATIENT.get(agent, task.min_rows),
        max_debt=1_000_000,
    )
    return result | {"cpu_seconds": round(time.process_time() - cpu, 1)}


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


def keep(name: str, runs: list[dict[str, Any]]) -> None:
    """Write what the seeds so far came to; a run of many minutes may be broken off."""
    rows = [row for result in runs for row in summary(result)]
    print(name, *rows, sep="\n  ", flush=True)
    seeds = sorted({row["seed"] for row in rows})
    machine.write(file_of(name), {"rows": rows, "runs": runs, "seeds": seeds})
    draw(name.split("/")[0])


def file_of(name: str) -> str:
    """Name of a run's result, without its ending."""
    return "learning_" + name.replace("/", "_").replace("-", "_")


def draw(task: str) -> None:
    """One picture of all agents that have learned a task."""
    every: dict[str, list[Any]] = {}
    for name in RUNS:
        path = machine.RESULTS / f"{file_of(name)}.json"
        if name.startswith(f"{task}/") and path.exists():
            every |= curves(json.loads(path.read_text())["runs"])
    plots.learning_curve(f"learning_{task}", every, title=task)


def curves(runs: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Label -> one curve per seed."""
    agent = runs[0]["job"]["agent"]
    if "robots" not in runs[0]:
        return {agent: [result["curve"] for result in runs]}
    robots = runs[0]["robots"]
    return {
        f"{agent}, {robot}": [result["robots"][robot]["curve"] for result in runs]
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
        runs: list[dict[str, Any]] = []
        for seed in got.seeds:
            runs.append(train(name, seed))
            keep(name, runs)


if __name__ == "__main__":
    main()
