"""A stand-in for LeRobot's package, for where it is not installed."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any


def stand_in() -> dict[str, ModuleType]:
    """What of `lerobot` and `draccus` the adapter uses, in the same terms."""

    class Robot:
        def __init__(self, config: Any) -> None:
            self.id = config.id

    @dataclass(kw_only=True)
    class RobotConfig:
        id: str | None = None
        calibration_dir: str | None = None

        @classmethod
        def register_subclass(cls, name: str) -> Callable[[type], type]:
            def register(kind: type) -> type:
                types[name] = kind
                return kind

            return register

    def make_robot_from_config(config: Any) -> Any:
        module = importlib.import_module(type(config).__module__)
        return getattr(module, type(config).__name__.removesuffix("Config"))(config)

    def decode(cls: type, raw: dict[str, Any]) -> Any:
        rest = dict(raw)
        return types[rest.pop("type")](**rest)

    types: dict[str, type] = {}
    robots, cameras = ModuleType("lerobot.robots"), ModuleType("lerobot.cameras")
    robots.__path__, cameras.__path__ = [], []
    robots.Robot, robots.RobotConfig = Robot, RobotConfig
    robots.make_robot_from_config = make_robot_from_config
    draccus, lerobot = ModuleType("draccus"), ModuleType("lerobot")
    draccus.decode, lerobot.robots, lerobot.cameras = decode, robots, cameras
    modules = (lerobot, robots, cameras, draccus)
    return {module.__name__: module for module in modules}
