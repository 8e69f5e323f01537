"""Strips of pictures of the robots, from an episode of random actions.

Run as `python -m benchmarks.pictures [names] [--out DIR]`: one PNG each of the robots that have a
`picture()`; unless named, those of the table, and one environment of each kind (`gym:ID`).
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robot_client.errors import DreamfleetError
from robot_client.robot import Robot
from robot_client.robots import ROBOTS, make_robot

FRAMES = 6
PIXELS = 128  # side of one picture
GAP = 4  # pixels between two
STEPS = 100  # at most, from the first picture to the last
SEED = 0

ENVIRONMENTS = (
    "dreamfleet/Sokoban-v0",
    "dreamfleet/MiniPacman-Regular-v0",
    "dreamfleet/DynaMaze-v0",
    "dreamfleet/BitFlip-v0",
    "dreamfleet/TwoRooms-A-v0",
    "dreamfleet/Chain-v0",
    "dreamfleet/Reach-v0",
    "dreamfleet/Push-v0",
    "dreamfleet/CarRacing-v0",
    "dreamfleet/TakeCover-v0",
    "dreamfleet/Atari-Pong-v0",
    "dm_control/walker-walk-v0",
)

Picture = NDArray[np.uint8]


def frames(robot: Robot, steps: int) -> Iterator[Picture]:
    """FRAMES pictures, evenly over the steps; a robot that ends sooner begins again."""
    robot.connect()
    robot.reset(SEED)
    robot.action_space.seed(SEED)
    due = set(np.linspace(0, steps, FRAMES).round().astype(int).tolist())
    for step in range(steps + 1):
        if step in due:
            yield robot.picture(PIXELS)  # type: ignore[attr-defined]
        robot.apply(np.asarray(robot.action_space.sample()))
        reading = robot.observe()
        if reading.terminated or reading.truncated:
            robot.reset(None)


def strip(pictures: list[Picture]) -> Image.Image:
    """The pictures side by side, each made PIXELS high."""
    images = [Image.fromarray(picture) for picture in pictures]
    images = [image.resize((PIXELS * image.width // image.height, PIXELS)) for image in images]
    width = sum(image.width + GAP for image in images) - GAP
    row, left = Image.new("RGB", (width, PIXELS), "white"), 0
    for image in images:
        row.paste(image, (left, 0))
        left += image.width + GAP
    return row


def draw(spec: str, folder: Path) -> str:
    """Write the strip of one robot; what to say about it. Raises DreamfleetError."""
    options = {"render_mode": "rgb_array"} if spec.startswith("gym:") else {}
    robot = make_robot(spec, **options)
    if not hasattr(robot, "picture"):
        return "skipped: it has no picture()"
    try:
        steps = min(robot.task.episode_steps or STEPS, STEPS)
        row = strip(list(frames(robot, steps)))
    finally:
        robot.stop()
        robot.close()
    path = folder / (re.sub(r"[^\w.-]+", "-", spec).strip("-") + ".png")
    row.save(path, optimize=True)
    return f"{path}, {FRAMES} pictures over {steps} steps"


def main(arguments: list[str] | None = None) -> int:
    """Draw, and say of each robot how it went; 1 when one that was named cannot be drawn."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="robots, as `make_robot` takes them")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"), metavar="DIR")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    status = 0
    for spec in chosen.names or (*ROBOTS, *(f"gym:{name}" for name in ENVIRONMENTS)):
        try:
            print(f"{spec}: {draw(spec, chosen.out)}")
        except DreamfleetError as error:  # such as one whose simulator is not installed
            print(f"{spec}: skipped: {error}")
            status = 1 if chosen.names else 0
    return status


if __name__ == "__main__":
    raise SystemExit(main())
