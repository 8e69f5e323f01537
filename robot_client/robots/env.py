"""Any robot as a gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.clock import Clock
from robot_client.errors import SchemaError
from robot_client.pacing import Pacer
from robot_client.robot import Action, Robot, as_action


class RobotEnv(gymnasium.Env[dict[str, Any], Any]):
    """Adapter from `Robot` to `gymnasium.Env`.

    The task's time limit arrives as `truncated`, the action really sent as `info["executed"]`.
    What is returned is the caller's to change.

    Args:
        robot: not yet connected.
        clock: paces the steps at the robot's rate; None, for simulated ones, does not wait.
        render_mode: `rgb_array` where the robot has a `picture()`; None does not render.

    Raises:
        SchemaError: the robot cannot be rendered so.
    """

    def __init__(
        self, robot: Robot, clock: Clock | None = None, render_mode: str | None = None
    ) -> None:
        self.observation_space, self.action_space = robot.observation_space, robot.action_space
        modes = ["rgb_array"] if hasattr(robot, "picture") else []
        self.metadata = {"render_modes": modes, "render_fps": robot.control_hz}
        if render_mode not in (None, *modes):
            raise SchemaError("render_mode", f"one of {[None, *modes]}", render_mode)
        self.render_mode = render_mode
        self._robot = robot
        self._pacer = None if clock is None else Pacer(clock, robot.control_hz)
        self._connected, self._steps = False, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Connect if need be and begin an episode."""
        super().reset(seed=seed)
        if not self._connected:
            self._robot.connect()
            self._connected = True
        self._robot.reset(seed)
        self._steps = 0
        if self._pacer is not None:
            self._pacer.start()
        reading = self._robot.observe()
        return self._owned(reading.obs), deepcopy(dict(reading.info))

    def step(self, action: Action) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One control step."""
        executed = self._robot.apply(as_action(self._robot.action_space, action))
        if self._pacer is not None:
            self._pacer.wait()
        self._steps += 1
        reading = self._robot.observe()
        truncated = reading.truncated or self._steps == self._robot.task.episode_steps
        info = deepcopy({**reading.info, "executed": executed})
        return self._owned(reading.obs), reading.reward, reading.terminated, truncated, info

    def render(self) -> Any:
        """The robot's picture (H, W, 3) uint8; None without a render mode."""
        return None if self.render_mode is None else self._robot.picture()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Stop and release the robot."""
        self._robot.stop()
        if self._connected:
            self._robot.close()
            self._connected = False

    def _owned(self, obs: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        """Copies, for a robot may show an array twice; of Discrete spaces the plain number."""
        space = self._robot.observation_space
        return {
            key: np.int64(array) if isinstance(space[key], spaces.Discrete) else array.copy()
            for key, array in obs.items()
        }
