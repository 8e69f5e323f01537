"""Any gymnasium environment as a robot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.errors import RobotError, SchemaError
from robot_client.robot import Action, Reading, as_action
from robot_client.robots import gym_sources
from robot_client.schema import ActionSpace, Task

DEFAULT_HZ = 20.0  # where the environment's metadata has no render_fps


class GymRobot:
    """Adapter from `gymnasium.Env` to `Robot`.

    A Box becomes the observation `obs`, or `image` if it is uint8 (H, W, C); a Discrete becomes
    `obs`; the keys of a Dict stay. Numbers other than uint8 become float32. Time limits of the
    environment arrive as `truncated`. An attribute `task`, a `robot_client.schema.Task`, says what
    it rewards. With the option `render_mode="rgb_array"` it has `picture()`.

    Args:
        env_id: as for `gymnasium.make`.
        options: keyword arguments of `gymnasium.make`.

    Raises:
        RobotError: there is no such environment, or it cannot be made.
        SchemaError: a space is neither Box nor Discrete (nor a flat Dict of them to observe).
    """

    def __init__(self, env_id: str, **options: Any) -> None:
        self._id, self._options = env_id, options
        self._env: gymnasium.Env[Any, Any] | None = self._make()
        self._single = not isinstance(self._env.observation_space, spaces.Dict)
        self._raw = _named(self._env.observation_space)
        self._raw_action = self._env.action_space
        self.observation_space = spaces.Dict(
            {k: _converted(f"observation_space.{k}", s) for k, s in self._raw.items()}
        )
        self.action_space = _action_space(self._raw_action)
        self.blend_steps = 0  # a simulation: a jump can hurt nobody
        self.control_hz = float(self._env.metadata.get("render_fps") or DEFAULT_HZ)
        declared = getattr(self._env.unwrapped, "task", None)
        known = declared if isinstance(declared, Task) else Task(env_id)
        limit = self._env.spec.max_episode_steps if self._env.spec else None
        steps = known.episode_steps or limit
        self.task = replace(known, name=env_id, episode_steps=steps)
        self._reading: Reading | None = None
        if options.get("render_mode") == "rgb_array":
            self.picture = self._render

    def connect(self) -> None:
        """Make the environment, unless the constructor's one is still there."""
        self._env = self._env or self._make()

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode."""
        obs, info = self._opened().reset(seed=seed)
        self._reading = Reading(self._obs(obs), info=info)

    def apply(self, action: Action) -> Action:
        """One step of the environment with the action, clipped to its bounds."""
        if self._reading is None:
            raise RobotError(f"{self._id}: apply before reset")
        sent = self._clipped(action)
        obs, reward, terminated, truncated, info = self._opened().step(self._native(sent))
        self._reading = Reading(self._obs(obs), float(reward), terminated, truncated, info)
        return sent

    def observe(self) -> Reading:
        """What the last step or reset gave."""
        if self._reading is None:
            raise RobotError(f"{self._id}: observe before reset")
        return self._reading

    def stop(self) -> None:
        """Nothing moves between steps."""

    def close(self) -> None:
        """Close the environment."""
        if self._env is not None:
            self._env.close()
        self._env = self._reading = None

    def _make(self) -> gymnasium.Env[Any, Any]:
        gym_sources.register(self._id)
        try:
            return gymnasium.make(self._id, disable_env_checker=True, **self._options)
        except (gymnasium.error.Error, ImportError, TypeError) as error:
            raise RobotError(f"gym:{self._id}: {error}") from error

    def _render(self, pixels: int = 256) -> NDArray[np.uint8]:
        """(H, W, 3) view for people, in the environment's own size."""
        if self._reading is None:
            raise RobotError(f"{self._id}: picture before reset")
        try:
            frame: Any = self._opened().render()
        except gymnasium.error.Error as error:
            raise RobotError(f"{self._id}: {error}") from error
        if not isinstance(frame, np.ndarray):
            raise RobotError(f"{self._id}: renders a {type(frame).__name__}, not a picture")
        return frame.astype(np.uint8)

    def _opened(self) -> gymnasium.Env[Any, Any]:
        if self._env is None:
            raise RobotError(f"{self._id}: the environment is closed")
        return self._env

    def _obs(self, obs: Any) -> dict[str, NDArray[Any]]:
        found: Mapping[str, Any] = {next(iter(self._raw)): obs} if self._single else obs
        return {
            k: np.asarray(
                found[k] - s.start if isinstance(s, spaces.Discrete) else found[k],
                self.observation_space[k].dtype,
            )
            for k, s in self._raw.items()
        }

    def _clipped(self, action: Action) -> Action:
        space = self.action_space
        if isinstance(space, spaces.Box):
            action = np.clip(action, space.low, space.high)
        return as_action(space, action)

    def _native(self, action: Action) -> Any:
        """In the environment's own dtype and numbering."""
        if isinstance(self._raw_action, spaces.Discrete):
            return int(action) + int(self._raw_action.start)
        return action.astype(self._raw_action.dtype)


def _named(space: spaces.Space[Any]) -> dict[str, spaces.Space[Any]]:
    if isinstance(space, spaces.Dict):
        return dict(space.spaces)
    image = isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3
    return {"image" if image else "obs": space}


def _converted(where: str, space: spaces.Space[Any]) -> ActionSpace:
    """The nearest space that rows know. Raises SchemaError."""
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(int(space.n))
    if isinstance(space, spaces.Box):
        if space.dtype == np.uint8:
            return space
        low, high = (_float32(bound) for bound in (space.low, space.high))
        return spaces.Box(low, high, space.shape, np.float32)
    raise SchemaError(where, "Box or Discrete", type(space).__name__)


def _action_space(space: spaces.Space[Any]) -> ActionSpace:
    if isinstance(space, spaces.Box) and space.dtype.kind != "f":
        raise SchemaError("action_space", "a Box of floats, or Discrete", repr(space))
    return _converted("action_space", space)


def _float32(bound: NDArray[Any]) -> NDArray[np.float32]:
    """Bounds that float32 cannot hold are none."""
    limit = np.finfo(np.float32).max
    wide = np.where(np.abs(bound) >= limit, np.copysign(np.inf, bound), bound)
    return wide.astype(np.float32)
