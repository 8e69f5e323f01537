"""CarRacing as World Models drives it (Ha & Schmidhuber 2018)."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sim.envs.extras import drawn, needs
from sim.envs.images import Shrink
from sim.envs.pooled import Pooled

PIXELS = 64
SIDE, ROWS = 96, 84  # of a picture; the rows below show the instruments
HZ = 50.0


class CarRacing(gymnasium.Env[Any, Any]):
    """CarRacing-v3 in small pictures and with actions around zero, at 50 Hz.

    Observes (64, 64, 3) uint8: the track without the bar of instruments. The action (3,) in [-1, 1]
    is steering, gas from -1 (none) to 1, and brake from 0 (none) to 1. The reward is 1000 / tiles
    for each new tile of the track, less 0.1 a step. Finishing the lap or leaving the playing field
    (-100) terminates. The paper's code inverts colours; here they are as seen.

    Args:
        engine: gymnasium's, or envpool's, which has other tracks for the same seeds and is
            several times as fast; it needs the extra `envpool`, most of a gigabyte.
        render_mode: `rgb_array` or nothing.

    Raises:
        RobotError: Box2D, pygame or envpool is missing.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012, gymnasium's own type
        "render_modes": ["rgb_array"],
        "render_fps": HZ,
    }

    def __init__(
        self,
        engine: str = "gymnasium",
        render_mode: str | None = None,
    ) -> None:
        if engine not in _TRACKS:
            raise ValueError(f"engine: expected one of {', '.join(_TRACKS)}, got {engine!r}")
        self._track = _TRACKS[engine](render_mode)
        self._picture = np.zeros((SIDE, SIDE, 3), np.uint8)  # the last that was seen
        self._shrink = Shrink((ROWS, SIDE), (PIXELS, PIXELS))
        self.observation_space = spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)
        self.action_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.render_mode = drawn(render_mode)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin on a new track."""
        super().reset(seed=seed)
        self._picture, info = self._track.reset(seed=seed)
        return self._shrink(self._picture[:ROWS]), info

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Drive for a fiftieth of a second."""
        found = self._track.step(pedals(action))
        self._picture, reward, terminated, truncated, info = found
        return self._shrink(self._picture[:ROWS]), float(reward), terminated, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """(400, 600, 3) picture, if `render_mode` is set; (96, 96, 3) of envpool."""
        if self.render_mode is None:
            return None
        return self._picture if isinstance(self._track, Pooled) else self._track.render()

    def close(self) -> None:
        """Close the simulation."""
        self._track.close()


def pedals(action: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., 3) our actions as the simulation takes them: gas and brake are 0 to 1."""
    steer, gas, brake = np.moveaxis(action, -1, 0)
    return np.stack([steer, (gas + 1) / 2, np.maximum(brake, 0)], -1).astype(np.float32)


def _gymnasiums(render_mode: str | None) -> Any:
    for module in ("Box2D", "pygame"):
        needs(module)
    return needs("gymnasium.envs.box2d.car_racing").CarRacing(render_mode=render_mode)


def _envpools(render_mode: str | None) -> Any:
    return Pooled("CarRacing-v3")


_TRACKS = {"gymnasium": _gymnasiums, "envpool": _envpools}
