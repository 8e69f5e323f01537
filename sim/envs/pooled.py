"""One environment of envpool, which has many in C++, as gymnasium has them."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np

from sim.envs.extras import needs


class Pooled(gymnasium.Env[Any, Any]):
    """A pool of one. It draws nothing but what it observes.

    Args:
        name: envpool's id.

    Raises:
        RobotError: envpool is missing.
    """

    def __init__(self, name: str) -> None:
        self._make, self._name = needs("envpool", "envpool").make_gymnasium, name
        self._pool: Any = self._make(name, num_envs=1, num_threads=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of bounds that are given as float64
            self.observation_space = self._pool.observation_space
            self.action_space = self._pool.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode. A pool takes its seed when it is made: a seed makes a new one."""
        super().reset(seed=seed)
        if seed is not None:
            self._pool.close()
            drawn = int(self.np_random.integers(2**31))  # seeds are below; near ones may be alike
            self._pool = self._make(self._name, num_envs=1, num_threads=1, seed=drawn)
        observations, _ = self._pool.reset()
        return observations[0].copy(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step."""
        found = self._pool.step(np.asarray(action)[None])
        observations, rewards, terminated, truncated, _ = found
        return (
            observations[0].copy(),
            float(rewards[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            {},
        )

    def close(self) -> None:
        """Let the pool's thread end."""
        self._pool.close()
