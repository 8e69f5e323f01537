"""What a small World Models agent sees and dreams, as pictures to look at.

python -m benchmarks.dream_pictures [pole car cover] [--seed 0] [--out DIR]

It collects random episodes, learns to see and then to foretell, as far as two cores come in some
ten minutes each. dream_<world>_seen.png and .gif show what it saw above what V makes of that;
dream_<world>_dreamt those dreams of M that follow, abreast.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import RESULTS
from robot_client.robots import make_robot
from robot_client.schema import space_to_json
from server.job import Job
from server.lockstep import ONLY, Lockstep, preset
from server.pictures import picture

ZOOM, WIDEST, FRAME_MS = 3, 320, 80


@dataclass(frozen=True)
class World:
    """What is learned of a robot, and for how long.

    Args:
        robot: that sees.
        preset: of the agent.
        steps: of the robot: the random episodes, and those while it learns.
        ratio: updates for each row.
        config: what differs from the preset.
    """

    robot: str
    preset: str | None
    steps: int
    ratio: float
    config: Mapping[str, Any]


# Few pictures of an update, many updates: what matters is small, and comes late.
BRIEF = {"batch_size": 8, "batch_length": 64, "frames": 50, "vision_learning_rate": 1e-3}
WORLDS = {
    "pole": World("gym:dreamfleet/PixelCartPole-v0", "laptop", 9000, 0.5, {}),
    "car": World(
        "gym:dreamfleet/CarRacing-v0",
        None,
        24_000,
        0.25,
        {**BRIEF, "collect_episodes": 14, "vision_updates": 1500, "memory_updates": 700},
    ),
    "cover": World(
        "gym:dreamfleet/TakeCover-v0",
        "take-cover",
        24_000,
        0.25,
        {**BRIEF, "collect_episodes": 140, "vision_updates": 2500, "memory_updates": 700},
    ),
}


def report(world: World, seed: int) -> dict[str, NDArray[Any]]:
    """The agent's pictures once it has learned."""
    robot = make_robot(world.robot)
    config = {**preset("world-models", world.preset), **world.config}
    rows = config["batch_size"] * config["batch_length"]
    job = Job(
        id="dreams",
        agent="world-models",
        config=config,
        observation_space=space_to_json(robot.observation_space),
        action_space=space_to_json(robot.action_space),
        seed=seed,
        train_ratio=world.ratio * rows,
        device="cpu",
    )
    with tempfile.TemporaryDirectory() as scratch:
        lockstep = Lockstep(job, {ONLY: robot}, Path(scratch))
        try:
            lockstep.train(world.steps)
            print(f"{lockstep.updates} updates")
            return lockstep.report()
        finally:
            lockstep.close()


def save(film: NDArray[Any], path: Path) -> None:
    """A strip of its pictures, and the film."""
    path.with_suffix(".png").write_bytes(picture(film))
    zoom = max(1, min(ZOOM, WIDEST // film.shape[2]))
    size = (film.shape[2] * zoom, film.shape[1] * zoom)
    coloured = np.repeat(film, 3, 3) if film.shape[3] == 1 else film
    frames = [Image.fromarray(each).resize(size, Image.Resampling.NEAREST) for each in coloured]
    gif = path.with_suffix(".gif")
    frames[0].save(gif, save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0)
    print(path.with_suffix(".png"), gif)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", nargs="*", help=f"{', '.join(WORLDS)}; none: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.worlds or WORLDS:
        for part, film in report(WORLDS[name], given.seed).items():
            save(film, given.out / f"dream_{name}_{part}")


if __name__ == "__main__":
    main()
