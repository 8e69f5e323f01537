"""Tasks with a goal that changes, for TDM (Pong et al. 2018) and HER (Andrychowicz et al. 2017).

The interface is that of gymnasium-robotics' `GoalEnv`, which stable-baselines3 knows too.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.rewards import Distance, Goals, Within
from robot_client.schema import Task
from sim.engine import Camera, Engine, Vector, empty
from sim.envs.extras import drawn

CONTROL_HZ = 20.0
PHYSICS_HZ = 240
SUBSTEPS = round(PHYSICS_HZ / CONTROL_HZ)
GOAL_COLOUR = (0.1, 0.85, 0.2, 1.0)
RENDER_PIXELS = 256

Numbers = NDArray[np.floating[Any]]
Observation = dict[str, NDArray[np.float32]]


class GoalEnv(gymnasium.Env[Any, Any]):
    """A PyBullet world in which something is to be brought to a goal, at 20 Hz.

    Observations are a Dict of float32: `observation` (n,), `achieved_goal` (g,) and `desired_goal`
    (g,), the goals in metres. Nothing terminates; `info["is_success"]` says whether the goal is
    within reach of `WITHIN`. A subclass builds the world, drives it and says what is seen.

    Args:
        observed: bounds of `observation`; what is seen is clipped to them.
        goals: the box from which goals are drawn.
        actions: length of the action, whose numbers are in [-1, 1].
        sparse: the reward is 0 at the goal and -1 elsewhere, instead of minus the distance (m).
        render_mode: `rgb_array` or nothing.
    """

    WITHIN = 0.05  # m: Andrychowicz et al. 2017, for Fetch
    CAMERA: Camera  # for `render`
    metadata: dict[str, Any] = {  # noqa: RUF012, gymnasium's own type
        "render_modes": ["rgb_array"],
        "render_fps": CONTROL_HZ,
    }

    def __init__(
        self,
        observed: spaces.Box,
        goals: spaces.Box,
        actions: int,
        *,
        sparse: bool,
        render_mode: str | None,
    ) -> None:
        reached = spaces.Box(-2.0, 2.0, goals.shape, np.float32)  # m: no arm here is as long
        self.observation_space = spaces.Dict(
            observation=observed, achieved_goal=reached, desired_goal=goals
        )
        self.action_space = spaces.Box(-1.0, 1.0, (actions,), np.float32)
        between = ("achieved_goal", "desired_goal")
        self.task = Task(
            "goal",
            reward=Within(*between, within=self.WITHIN) if sparse else Distance(*between),
            goals=Goals(within=self.WITHIN),
        )
        self.render_mode = drawn(render_mode)
        self._observed, self._goals, self._reached, self._sparse = observed, goals, reached, sparse
        self._goal = np.zeros(goals.shape, np.float32)
        self._world: Engine | None = None

    def compute_reward(
        self, achieved_goal: Numbers, desired_goal: Numbers, info: Any
    ) -> NDArray[np.float32]:
        """Rewards (...) of goals (..., g); `info` is not used."""
        distance = _distance(achieved_goal, desired_goal)
        return -(distance > self.WITHIN).astype(np.float32) if self._sparse else -distance

    def compute_terminated(self, achieved_goal: Numbers, desired_goal: Numbers, info: Any) -> bool:
        """Never: reaching a goal does not end an episode."""
        return False

    def compute_truncated(self, achieved_goal: Numbers, desired_goal: Numbers, info: Any) -> bool:
        """Never: the time limit is the wrapper's."""
        return False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Build the world anew and draw a goal."""
        super().reset(seed=seed)
        world = self._world = self._world or Engine()
        empty(world, PHYSICS_HZ)
        self._goal = self._build(world, self.np_random).astype(np.float32)
        obs = self._seen(world)
        return obs, self._info(obs)

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Drive for a control period."""
        world = self._opened()
        self._drive(world, np.clip(np.asarray(action, float), -1, 1))
        for _ in range(SUBSTEPS):
            world.stepSimulation()
        obs = self._seen(world)
        info = self._info(obs)
        reward = float(self.compute_reward(obs["achieved_goal"], obs["desired_goal"], info))
        return obs, reward, False, False, info

    def render(self) -> NDArray[np.uint8] | None:
        """(256, 256, 3) picture, if `render_mode` is set."""
        return None if self.render_mode is None else self.CAMERA.picture(self._opened())[0]

    def close(self) -> None:
        """Stop the physics engine."""
        if self._world is not None:
            self._world.disconnect()
        self._world = None

    @abstractmethod
    def _build(self, world: Engine, rng: np.random.Generator) -> Numbers:
        """Fill an empty world, draw its start; return the goal (g,)."""

    @abstractmethod
    def _drive(self, world: Engine, action: NDArray[np.float64]) -> None:
        """Set the motors for the coming control period."""

    @abstractmethod
    def _observe(self, world: Engine) -> tuple[list[float], list[float]]:
        """The `observation` (n,) and the `achieved_goal` (g,)."""

    def _seen(self, world: Engine) -> Observation:
        observation, achieved = self._observe(world)
        return {
            "observation": _fit(self._observed, observation),
            "achieved_goal": _fit(self._reached, achieved),
            "desired_goal": self._goal.copy(),
        }

    def _info(self, obs: Observation) -> dict[str, Any]:
        distance = float(_distance(obs["achieved_goal"], obs["desired_goal"]))
        return {"is_success": distance <= self.WITHIN, "distance": distance}

    def _opened(self) -> Engine:
        if self._world is None:
            raise gymnasium.error.ResetNeeded(f"{type(self).__name__}: reset it first")
        return self._world


def draw_far(
    rng: np.random.Generator, box: spaces.Box, other: Numbers, distance: float
) -> NDArray[np.float64]:
    """A point of the box, uniform among those farther than `distance` (m) from another."""
    while True:
        point = rng.uniform(box.low, box.high)
        if np.linalg.norm(point - other) > distance:
            return point


def mark(world: Engine, centre: Vector, radius: float) -> None:
    """A green ball that is seen but not felt."""
    shape = world.createVisualShape(world.GEOM_SPHERE, radius=radius, rgbaColor=GOAL_COLOUR)
    world.createMultiBody(0, -1, shape, centre)


def _distance(achieved_goal: Numbers, desired_goal: Numbers) -> NDArray[np.float32]:
    apart = np.asarray(achieved_goal) - np.asarray(desired_goal)
    return np.asarray(np.linalg.norm(apart, axis=-1), np.float32)


def _fit(space: spaces.Box, values: list[float]) -> NDArray[np.float32]:
    return np.clip(np.asarray(values, np.float32), space.low, space.high)
