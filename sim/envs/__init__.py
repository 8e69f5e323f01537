"""The lecture's small environments, one file each, as gymnasium environments in NumPy.

`register` makes them known to gymnasium under the namespace `dreamfleet`; the robot adapter does it
by itself for `gym:dreamfleet/...`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium

from sim.envs.atari import GAMES

NAMESPACE = "dreamfleet/"


@dataclass(frozen=True)
class Row:
    """One environment: `module:Class`, its time limit in steps, and its keyword arguments."""

    target: str
    steps: int | None
    options: Mapping[str, Any] = field(default_factory=dict)


_SOKOBAN = "sim.envs.sokoban:Sokoban"
_PACMAN = "sim.envs.minipacman:MiniPacman"
_MAZE = "sim.envs.dyna_maze:DynaMaze"

ENVS: dict[str, Row] = {  # without the namespace
    "Sokoban-v0": Row(_SOKOBAN, 120, {"size": 7, "boxes": 2}),
    **{f"Sokoban-{n}-v0": Row(_SOKOBAN, 120, {"size": 10, "boxes": n}) for n in (1, 2, 3, 4)},
    **{
        f"MiniPacman-{mode.title()}-v0": Row(_PACMAN, 1000, {"mode": mode})
        for mode in ("regular", "avoid", "hunt", "ambush", "rush")
    },
    "DynaMaze-v0": Row(_MAZE, None),
    "DynaMaze-Blocking-v0": Row(_MAZE, None, {"variant": "blocking"}),
    "DynaMaze-Shortcut-v0": Row(_MAZE, None, {"variant": "shortcut"}),
    "BitFlip-v0": Row("sim.envs.bit_flip:BitFlip", None),
    **{
        f"TwoRooms-{g}-v0": Row("sim.envs.two_rooms:TwoRooms", 300, {"goal": g}) for g in "ABCDEFGH"
    },
    "Chain-v0": Row("sim.envs.chain:Chain", 1000),
}


# Those with numbers as actions, and those that need PyBullet or a library of the extra `envs`.
SUITES: dict[str, Row] = {
    "CarRacing-v0": Row("sim.envs.car_racing:CarRacing", 1000),
    "CartPoleSwingUp-v0": Row("sim.envs.cartpole_swingup:CartPoleSwingUp", 200),
    "PixelCartPole-v0": Row("sim.envs.pixel_cartpole:PixelCartPole", 500),
    "Push-v0": Row("sim.envs.push:Push", 100),
    "PushSparse-v0": Row("sim.envs.push:Push", 100, {"sparse": True}),
    "Quadrotor-v0": Row("sim.envs.quadrotor:Quadrotor", 250),
    "Reach-v0": Row("sim.envs.reach:Reach", 50),
    "ReachSparse-v0": Row("sim.envs.reach:Reach", 50, {"sparse": True}),
    "TakeCover-v0": Row("sim.envs.take_cover:TakeCover", None),
    **{f"Atari-{game}-v0": Row("sim.envs.atari:Atari", None, {"game": game}) for game in GAMES},
}


def register() -> None:
    """Make every row of `ENVS` and `SUITES` known to gymnasium. Again does no harm."""
    for name, row in (ENVS | SUITES).items():
        env_id = NAMESPACE + name
        if env_id not in gymnasium.registry:
            gymnasium.register(
                env_id, row.target, max_episode_steps=row.steps, kwargs=dict(row.options)
            )
