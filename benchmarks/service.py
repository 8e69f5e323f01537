"""Learning through the whole service: server, learner and robot client as processes of their own.

    python -m benchmarks.service a1 [--minutes 50]

Each run keeps benchmarks/results/service_<name>.json with the curve of its episodes, what its
rewards were like in each tenth of its rows, and how old the policies were that acted; and a plot
and the learner's last open-loop picture beside it.
"""

import argparse
import asyncio
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine, plots
from benchmarks.serving import experiment, free_port, our_robot, robot
from robot_client.clock import SystemClock
from robot_client.schema import IS_FIRST, REWARD
from server.replay.store import ReplayStore
from server.replay.view import ReplayView
from server.service import Service
from server.storage import Experiment

LOOK_S = 30.0
START_S, PATIENCE_S = 0.1, 300.0  # between two looks before the first rows, and until there is one
TENTHS = 10
METRICS = ("learner/updates_per_s", "learner/wait_share", "loss/dyn", "loss/reward")


@dataclass(frozen=True)
class Run:
    """What learns what, and how.

    Args:
        robot: of the table of robots.
        agent: of the table of agents, with a preset of its settings, and `config` on top.
        about: title of the plot.
        config: further settings of the agent.
        options: of the robot.
        speed: of the robot, times real time.
        learner: how the learner works, such as its train ratio.
        minutes: how long it learns.
        levels: name -> the reward of a step above which it is called so.
        counts: name -> the reward of a row that is to be counted.
    """

    robot: str
    agent: str
    about: str
    preset: str | None = "laptop"
    config: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    speed: float = 1.0
    learner: dict[str, Any] = field(default_factory=dict)
    minutes: float = 66.0
    levels: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)


RUNS: dict[str, Run] = {
    "a1": Run(
        "a1",
        "daydreamer",
        "A1 from its back, no resets, 20 Hz in real time",
        # From its back the reward hardly changes until it has turned: what is new must lead there.
        # Rewards of 5 to 14, and joints beside rates five times as large, are learned too coarsely
        # to tell one pose from the next, see `reward_offset` and `vectors`.
        config={
            "ensemble": 2,
            "explore": 0.3,
            "entropy": 0.3,
            "discount": 0.97,
            "actor_learning_rate": 6e-4,
            "batch_size": 16,
            "batch_length": 16,
            "size": "small",
            "horizon": 10,
            "kl_target": 12.0,
            "vectors": "own",
            "reward_offset": 5.0,
            "compiled": True,
        },
        learner={"train_ratio": 512.0, "min_rows": 1000},
        levels={"upright": 5.7, "standing": 8.7, "trotting": 11.0},
    ),
    "sphero": Run(
        "sphero",
        "daydreamer",
        "Sphero from its camera, ten times real time",
        config={"pictures": "changes"},  # the ball is 20 pixels of 4,096
        speed=10.0,
        learner={"train_ratio": 512.0, "min_rows": 1000},
        levels={"success radius": -0.1},
    ),
    "xarm": Run(
        "xarm",
        "daydreamer",
        "xArm pick and place, sparse rewards",
        speed=20.0,
        learner={"train_ratio": 512.0, "min_rows": 2000},
        counts={"grasped": 1.0, "other bin": 10.0, "same bin": -1.0},
    ),
}


async def play(run: Run, minutes: float, seed: int, folder: Path) -> dict[str, Any]:
    """Learn for so long; what came of it."""
    port = free_port()
    settings: dict[str, Any] = {"preset": run.preset, "config": run.config, "seed": seed}
    made = experiment(folder / "server", port, agent=run.agent, **settings, **run.learner)
    async with made as (service, found):
        options = ["--options", json.dumps(run.options), "--speed"]
        options += ["max" if run.speed == float("inf") else str(run.speed), "--json"]
        with robot(our_robot(), run.robot, port, folder, *options, log=folder / "robot.log"):
            await watch(service, found, minutes * 60)
        await service.writer.flush()
        _keep_picture(service, found, folder)
        learner = service.experiments.learner(found.id)
        outcome = {
            "updates": learner.updates,
            "metrics": {name: last(service, found, name) for name in METRICS},
            "curve": curve(service, found),
        }
    return outcome | rewards(folder / "server" / "experiments" / found.id / "replay", run)


async def watch(service: Service, found: Experiment, seconds: float) -> None:
    """Wait for the end, with a line now and then. Time begins with the first rows."""
    clock = SystemClock()
    begun = clock.monotonic()
    while not service.experiments.get(found.id).rows:
        if clock.monotonic() - begun > PATIENCE_S:
            raise TimeoutError(f"no rows within {PATIENCE_S:g} s")
        await asyncio.sleep(START_S)
    end = clock.monotonic() + seconds
    while (left := end - clock.monotonic()) > 0:
        await asyncio.sleep(min(LOOK_S, left))
        learner = service.experiments.learner(found.id)
        points = curve(service, found)[-10:]
        recent = np.mean([value for *_, value in points]) if points else float("nan")
        print(
            f"{seconds - left:6.0f} s  rows {service.experiments.get(found.id).rows:6}  "
            f"updates {learner.updates:6}  reward per step {recent:7.3f}  {learner.reason}",
            flush=True,
        )


def curve(service: Service, found: Experiment) -> list[tuple[float, int, float]]:
    """(minutes, control steps so far, reward per step) of each episode."""
    points, steps = [], 0
    for episode in service.storage.episodes(found.id):
        steps += episode.steps
        minutes = (episode.ended_at - found.created_at) / 60
        points.append((round(minutes, 3), steps, episode.total_reward / max(episode.steps, 1)))
    return points


def last(service: Service, found: Experiment, name: str) -> float | None:
    """A metric's newest value."""
    values = service.storage.metrics(found.id, name)
    return values[-1].value if values else None


def rewards(path: Path, run: Run) -> dict[str, Any]:
    """What each tenth of the stored rows was rewarded with."""
    store = ReplayStore(path, readonly=True)
    try:
        view = ReplayView(store)
        view.refresh()
        rows = view.gather(np.arange(view.tail, view.head), [REWARD, IS_FIRST])
    finally:
        store.close()
    kept = rows[REWARD][~rows[IS_FIRST]]
    return {
        "rows": [_share(part, k, run) for k, part in enumerate(np.array_split(kept, TENTHS))],
        "steps": len(kept),
    }


def _share(part: np.ndarray, tenth: int, run: Run) -> machine.Row:
    above = {name: float((part > level).mean()) for name, level in run.levels.items()}
    counted = {name: int(np.isclose(part, value).sum()) for name, value in run.counts.items()}
    return {"tenth": tenth + 1, "steps": len(part), "mean": float(part.mean()), **above, **counted}


def _keep_picture(service: Service, found: Experiment, folder: Path) -> None:
    report = service.storage.latest_report(found.id)
    if report is not None:
        home = service.settings.experiment_dir(found.id)
        shutil.copy(home / report.path, folder / "open_loop.png")


def keep(name: str, run: Run, seed: int, outcome: dict[str, Any], folder: Path) -> None:
    """Write the JSON, the plot and the picture."""
    print(machine.table(outcome["rows"]), flush=True)
    settings = {"agent": run.agent, "config": run.config, "robot": run.robot, "speed": run.speed}
    machine.write(f"service_{name}", {**settings, **run.learner, **outcome}, seed)
    points = [(minutes, value) for minutes, _, value in outcome["curve"]]
    plots.learning_curve(
        f"service_{name}",
        {run.agent: [smooth(points)]},
        title=run.about,
        x="minutes",
        y="reward per step, mean of 5 episodes",
        levels=run.levels,
    )
    if (folder / "open_loop.png").exists():
        shutil.copy(folder / "open_loop.png", machine.RESULTS / f"service_{name}_open_loop.png")


def smooth(points: list[tuple[float, float]], width: int = 5) -> list[tuple[float, float]]:
    """Each value as the mean of the last few."""
    values = [value for _, value in points]
    return [
        (minutes, float(np.mean(values[max(0, k - width + 1) : k + 1])))
        for k, (minutes, _) in enumerate(points)
    ]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=RUNS)
    parser.add_argument("--minutes", type=float, help="how long to learn; as the run says")
    parser.add_argument("--seed", type=int, default=0)
    got = parser.parse_args()
    run = RUNS[got.name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        outcome = asyncio.run(play(run, got.minutes or run.minutes, got.seed, folder))
        keep(got.name, run, got.seed, outcome, folder)


if __name__ == "__main__":
    main()
