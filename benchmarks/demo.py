"""How far `make demo` gets in fifteen minutes: the ball's distance to its goal, episode by episode.

    python -m benchmarks.demo [--rows 14000]

Runs the demonstration twice as a user would, once with the random agent to compare with, and keeps
both curves as JSON with a plot.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import machine, plots
from server.settings import Settings
from server.storage import Storage

RECENT = 10  # episodes in the means that are compared


def play(agent: str, rows: int, speed: str) -> dict[str, Any]:
    """One demonstration: its summary, and (minutes, rows, mean distance) of each full episode."""
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "server.cli", "demo", "--agent", agent, "--speed", speed]
        command += ["--rows", str(rows), "--data", data, "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        return {"summary": json.loads(done.stdout), "curve": curve(Path(data))}


def curve(data: Path) -> list[tuple[float, int, float]]:
    """(minutes since the first episode began, rows so far, mean distance) of each full episode."""
    storage = Storage(Settings(data).database_url)
    try:
        (experiment,) = storage.experiments()
        episodes = [e for e in storage.episodes(experiment.id) if e.steps > 0]
    finally:
        storage.close()
    points, rows = [], 0
    for episode in episodes:
        rows += episode.steps + 1
        minutes = (episode.ended_at - experiment.created_at) / 60
        points.append((round(minutes, 3), rows, -episode.total_reward / episode.steps))
    return points


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=14000)
    got = parser.parse_args()
    random = play("random", 2100, "max")
    learned = play("dreamer", got.rows, "8")
    baseline = mean([distance for _, _, distance in random["curve"]])
    distances = [distance for _, _, distance in learned["curve"]]
    running = [mean(distances[max(0, i - RECENT + 1) : i + 1]) for i in range(len(distances))]
    halved = [i for i, d in enumerate(running) if i >= RECENT - 1 and d < baseline / 2]
    row = {
        "random_mean_distance": baseline,
        "last_10_mean_distance": running[-1],
        "ratio": running[-1] / baseline,
        "minutes": learned["curve"][-1][0],
        "episodes": len(distances),
        "minutes_until_halved": learned["curve"][halved[0]][0] if halved else None,
        "updates_per_second": learned["summary"]["updates_per_second"],
    }
    print(machine.table([row]))
    machine.write("demo", {"rows": [row], "random": random, "dreamer": learned})
    plots.learning_curve(
        "demo",
        {
            "mean of 10 episodes": [
                [(m, d) for (m, _, _), d in zip(learned["curve"], running, strict=True)]
            ]
        },
        title="The demonstration: ball to goal, from position and velocity, two CPU cores",
        x="minutes since the start",
        y="mean distance to the goal",
        levels={"random": baseline, "half of it": baseline / 2},
    )


if __name__ == "__main__":
    main()
