"""A simulated arm behind LeRobot's interface, whichever `lerobot.robots` there is when it loads.

Two joints, a wheel and a camera. Like LeRobot's own arms it refuses to work, and to be
disconnected, while it is not connected, and is not connected while its camera is gone.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from lerobot.robots import Robot, RobotConfig

MADE: list["ToyArm"] = []


@RobotConfig.register_subclass("toy_arm")
@dataclass
class ToyArmConfig(RobotConfig):
    port: str = ""
    calibrated: bool = True
    step: float = 1000.0  # the arm's own limit on how far a goal may be


class Bus:
    def __init__(self) -> None:
        self.power = False

    def disconnect(self, disable_torque: bool = True) -> None:
        if not self.power:
            raise ConnectionError("the bus is closed")
        self.power = not disable_torque


class ToyArm(Robot):
    config_class = ToyArmConfig
    name = "toy_arm"

    def __init__(self, config: ToyArmConfig) -> None:
        super().__init__(config)
        self.config, self.bus = config, Bus()
        self.at = {"pan.pos": 20.0, "lift.pos": -30.0}
        self.speed = 0.0
        self.sent: list[dict[str, float]] = []
        self.read = 0
        self.camera = self.answers = True
        self.blocked = False
        MADE.append(self)

    @cached_property
    def observation_features(self):
        return {"pan.pos": float, "lift.pos": float, "wheel.vel": float, "front": (4, 6, 3)}

    @cached_property
    def action_features(self):
        return {"pan.pos": float, "lift.pos": float, "wheel.vel": float}

    @property
    def is_connected(self) -> bool:
        return self.bus.power and self.camera

    @property
    def is_calibrated(self) -> bool:
        return self.config.calibrated

    def connect(self, calibrate: bool = True) -> None:
        assert not calibrate, "calibration asks questions"
        if not self.config.port:
            raise ConnectionError("could not open the port")
        self.bus.power = True

    def calibrate(self) -> None: ...

    def configure(self) -> None: ...

    def get_observation(self):
        self._needs_connection()
        self.read += 1
        picture = np.full((4, 6, 3), self.read % 256, np.uint8)
        return {**self.at, "wheel.vel": self.speed, "front": picture}

    def send_action(self, action):
        self._needs_connection()
        assert set(action) == set(self.action_features)
        goal = dict(action)
        for name, at in self.at.items():
            goal[name] = float(np.clip(goal[name], at - self.config.step, at + self.config.step))
        self.sent.append(goal)
        if not self.blocked:
            self.at = {name: goal[name] for name in self.at}
        self.speed = goal["wheel.vel"]
        return goal

    def disconnect(self) -> None:
        self._needs_connection()
        self.bus.disconnect()

    def _needs_connection(self) -> None:
        if not self.is_connected or not self.answers:
            raise ConnectionError("ToyArm is not connected")
