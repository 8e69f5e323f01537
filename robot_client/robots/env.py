"""Any robot as a gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium

from robot_client.clock import Clock
from robot_client.pacing import Pacer
from robot_client.robot import Action, Robot, as_action


class RobotEnv(gymnasium.Env[dict[str, Any], Any]):
    """Adapter from `Robot` to `gymnasium.Env`.

    The task's time limit arrives as `truncated`, the action really sent as `info["executed"]`.

    Args:
        robot: not yet connected.
        clock: paces the steps at the robot's rate; None, for simulated ones, does not wait.
    """

    def __init__(self, robot: Robot, clock: Clock | None = None) -> None:
        self.observation_space, self.action_space = robot.observation_space, robot.action_space
        self.metadata = {"render_modes": [], "render_fps": robot.control_hz}
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
        return dict(reading.obs), dict(reading.info)

    def step(self, action: Action) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One control step."""
        executed = self._robot.apply(as_action(self._robot.action_space, action))
        if self._pacer is not None:
            self._pacer.wait()
        self._steps += 1
        reading = self._robot.observe()
        truncated = reading.truncated or self._steps == self._robot.task.episode_steps
        info = {**reading.info, "executed": executed}
        return dict(reading.obs), reading.reward, reading.terminated, truncated, info

    def close(self) -> None:
        """Stop and release the robot."""
        self._robot.stop()
        if self._connected:
            self._robot.close()
            self._connected = False
