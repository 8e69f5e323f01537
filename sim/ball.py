"""A ball that must roll to a goal, in PyBullet: the simple relative of `sphero`.

The task is the visual navigation of DayDreamer (Wu et al., 2022): a rolling robot in a square arena
of 0.8 m, two motor commands twice a second, reward minus the distance to a fixed goal, 100 steps.
Here its actions are torques about the arena's axes, and it may observe where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.errors import RobotError
from robot_client.robot import Action, Reading
from robot_client.robots.arena import CONTROL_HZ, GOAL, PIXELS
from robot_client.schema import Task
from sim.arena_world import MAX_TORQUE, START_MARGIN, ArenaWorld
from sim.variation import Variation

Observe = Literal["vector", "camera", "both"]

SETTLING_S = 0.25  # of free rolling after a reset


class Ball:
    """The ball in its arena. Simulated in this process; several do not disturb each other.

    The action (2,) in [-1, 1] is the torque about the x and the y axis, in shares of `MAX_TORQUE`:
    (0, 1) rolls to the right (growing x), (1, 0) downwards (shrinking y).

    Observations, by `observe`:
        vector  (4,) float32: position x, y in arena units, velocity x, y in arena units per second
        camera  (64, 64, 3) uint8: the arena from above
        both    the two under these names

    The reward is minus the distance to `GOAL` in arena units, from the position that is observed
    with it; `info["distance"]` is that distance. An episode lasts 100 steps and is never terminal.
    Uniformly random actions stay about 0.5 away from the goal, a damped spring less than 0.05.

    Args:
        observe: which observations the robot has.
        vary: arguments of `sim.variation.Variation`. The sun goes its way whatever the seed.

    Raises:
        ValueError: `observe` is another word, or a variation makes no sense.
    """

    control_hz = CONTROL_HZ
    blend_steps = 0  # a simulation: a jump can hurt nobody
    task = Task("roll-to-goal", episode_steps=100)

    def __init__(
        self, observe: Observe = "vector", vary: Mapping[str, float] | None = None
    ) -> None:
        if observe not in get_args(Observe):
            raise ValueError(f"observe: expected one of {get_args(Observe)}, got {observe!r}")
        self.observation_space = spaces.Dict(
            {key: space for key, space in _spaces().items() if observe in (key, "both")}
        )
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._variation = Variation(**(vary or {}))
        self._rng = np.random.default_rng()
        self._world = ArenaWorld("ball")
        self._reading: Reading | None = None  # of the present state, once observed

    def connect(self) -> None:
        """Start a physics engine of its own."""
        self._world.connect()

    def reset(self, seed: int | None = None) -> None:
        """Put the ball somewhere away from the walls and let it settle.

        With a seed the episode, and those after it, depend on nothing that went before.
        """
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._world.build(self._rng.uniform(START_MARGIN, 1 - START_MARGIN, 2))
        self._world.vary(self._variation.draw(self._rng))
        self._world.roll(SETTLING_S)
        self._reading = self._read(reward=False)

    def apply(self, action: Action) -> Action:
        """Drive with these torques, clipped to [-1, 1], for one control period.

        Raises RobotError when the action is not two finite numbers.
        """
        self._world.ball()
        if np.shape(action) != (2,) or not np.isfinite(action).all():
            raise RobotError(f"ball: expected two finite numbers as action, got {action!r}")
        sent = np.clip(action, -1, 1).astype(np.float32)
        x, y = (sent.astype(float) * MAX_TORQUE).tolist()
        self._world.roll(1 / CONTROL_HZ, lambda: (x, y))
        self._reading = None
        return sent

    def observe(self) -> Reading:
        """The present state, with the reward for having arrived in it."""
        self._world.ball()
        if self._reading is None:
            self._reading = self._read(reward=True)
        return self._reading

    def camera(self) -> NDArray[np.uint8]:
        """(64, 64, 3) picture of the arena from above, whatever the robot observes."""
        return self._world.picture()

    def picture(self, pixels: int = 256) -> NDArray[np.uint8]:
        """(pixels, pixels, 3) view for people: the camera's."""
        return self._world.picture(pixels)

    def stop(self) -> None:
        """Nothing to do: no torque outlasts `apply`."""

    def close(self) -> None:
        """Stop the physics engine."""
        self._world.close()
        self._reading = None

    def _read(self, reward: bool) -> Reading:
        vector = self._world.state()
        distance = float(np.linalg.norm(vector[:2] - GOAL))
        obs: dict[str, NDArray[Any]] = {}
        if "vector" in self.observation_space.spaces:
            obs["vector"] = vector
        if "camera" in self.observation_space.spaces:
            obs["camera"] = self.camera()
        return Reading(obs, -distance if reward else 0.0, info={"distance": distance})


def _spaces() -> dict[str, spaces.Box]:
    high = np.array([1, 1, 4, 4], np.float32)  # four times what the motors can reach
    low = np.array([0, 0, -4, -4], np.float32)
    return {
        "vector": spaces.Box(low, high, dtype=np.float32),
        "camera": spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8),
    }
