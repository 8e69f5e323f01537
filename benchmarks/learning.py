"""Lockstep learning runs: several seeds each, as JSON with a plot.

python -m benchmarks.learning [pendulum] [pointmass] [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from benchmarks import machine, plots
from server.lockstep import preset, run

RUNS: dict[str, dict[str, Any]] = {
    "pointmass": {"robot_name": "pointmass", "steps": 4000, "train_ratio": 96.0, "min_rows": 300},
    "pendulum": {"robot_name": "gym:Pendulum-v1", "steps": 6000, "train_ratio": 128.0},
}


def measure(name: str, seeds: list[int]) -> dict[str, Any]:
    results = []
    for seed in seeds:
        cpu = time.process_time()
        result = run(
            "dreamer",
            seed=seed,
            config=preset("dreamer", "laptop"),
            max_debt=1_000_000,
            **({"min_rows": 500} | RUNS[name]),
        )
        result["cpu_seconds"] = round(time.process_time() - cpu, 1)
        results.append(result)
        print(name, summary(result), flush=True)
    return {"rows": [summary(result) for result in results], "runs": results}


def summary(result: dict[str, Any]) -> dict[str, Any]:
    returns = [value for _, value in result["curve"]]
    return {
        "robot": result["robot"],
        "seed": result["job"]["seed"],
        "steps": result["steps"],
        "updates": result["updates"],
        "cpu_seconds": result["cpu_seconds"],
        "first_mean_return": sum(returns[:3]) / 3,
        "evaluation_mean": result["evaluation_mean"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(RUNS)}; none: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    got = parser.parse_args()
    unknown = sorted(set(got.names) - set(RUNS))
    if unknown:
        parser.error(f"no run {unknown[0]!r}; there are: {', '.join(RUNS)}")
    for name in got.names or RUNS:
        payload = measure(name, got.seeds)
        machine.write(f"learning_{name}", payload | {"seeds": got.seeds})
        curves = {"dreamer, laptop preset": [result["curve"] for result in payload["runs"]]}
        plots.learning_curve(f"learning_{name}", curves, title=RUNS[name]["robot_name"])


if __name__ == "__main__":
    main()
