"""What a Sphero-like ball's simulated and real form share: spaces, goal, reward, reset moves.

The task is the visual navigation of DayDreamer (Wu et al., 2022): a ball whose heading is hidden
drives by two raw motor powers, twice a second, to a fixed goal in an arena of 0.8 m that a camera
sees from above. The reward is computed from the very picture that is observed.

Positions are in arena units: x goes right and y up in the picture, both from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.errors import RobotError, SchemaError
from robot_client.robot import Action, Reading
from robot_client.schema import Task

CAMERA = "camera"  # the only observation
PIXELS = 64
CONTROL_HZ = 2.0
TASK = Task("see-and-roll-to-goal", episode_steps=100)

SIDE_M = 0.8  # of the arena
GOAL = np.array([0.825, 0.165], np.float32)  # arena units
SUCCESS_RADIUS = 0.1  # arena units; shown, never part of the reward

FULL_POWER = 255  # of a motor
MAX_POWER = 70  # that an action of 1 asks for

RESET_MOVES = 5
RESET_MOVE_S = 1.0
SETTLING_S = 4.0


@dataclass(frozen=True)
class Look:
    """How the ball is told from its surroundings, and where in the picture the arena lies.

    Args:
        hue: from and to, degrees in [0, 360); from 350 to 20 goes over red.
        saturation, value: the least that counts as the ball's colour, in [0, 1].
        least_pixels: fewer of that colour are noise.
        left, bottom, right, top: the arena's edges as shares of the picture, from its lower left.

    Raises:
        SchemaError: a value makes no sense.
    """

    hue: tuple[float, float] = (350.0, 35.0)
    saturation: float = 0.6
    value: float = 0.05
    least_pixels: int = 4
    left: float = 0.0
    bottom: float = 0.0
    right: float = 1.0
    top: float = 1.0

    def __post_init__(self) -> None:
        for name in ("saturation", "value", "left", "bottom", "right", "top"):
            if not 0 <= getattr(self, name) <= 1:
                raise SchemaError(f"look.{name}", "a share in [0, 1]", getattr(self, name))
        if not all(0 <= angle < 360 for angle in self.hue):
            raise SchemaError("look.hue", "degrees in [0, 360)", self.hue)
        if self.left >= self.right or self.bottom >= self.top:
            edges = (self.left, self.bottom, self.right, self.top)
            raise SchemaError("look", "left below right and bottom below top", edges)
        if self.least_pixels < 1:
            raise SchemaError("look.least_pixels", "at least 1", self.least_pixels)

    def mask(self, picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """(H, W): which pixels of an (H, W, 3) RGB picture have the ball's colour."""
        hue, saturation, value = np.moveaxis(hsv(picture), -1, 0)
        low, high = self.hue
        inside = (low <= hue) & (hue <= high) if low <= high else (low <= hue) | (hue <= high)
        found: NDArray[np.bool_] = inside & (saturation >= self.saturation) & (value >= self.value)
        return found

    def position(self, picture: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """(2,) of the ball in arena units: its pixels' centroid; None where it is not seen."""
        rows, columns = np.nonzero(self.mask(picture))
        if rows.size < self.least_pixels:
            return None
        height, width = picture.shape[:2]
        x = (columns.mean() + 0.5) / width
        y = 1 - (rows.mean() + 0.5) / height
        place = (x - self.left) / (self.right - self.left)
        return np.array([place, (y - self.bottom) / (self.top - self.bottom)], np.float32)


class Referee:
    """Makes a reading of a picture. A ball that is hidden counts as where it was last seen.

    Args:
        look: of the ball and the arena.
    """

    def __init__(self, look: Look | None = None) -> None:
        self._look = look or Look()
        self._last: NDArray[np.float32] | None = None

    def forget(self) -> None:
        """The ball was moved unseen, as when the device is connected."""
        self._last = None

    def reading(self, picture: NDArray[np.uint8], first: bool) -> Reading:
        """The picture with its reward: minus the distance to the goal, in arena units.

        `info` has `distance`, `success` (nearer than SUCCESS_RADIUS) and `seen`.

        Args:
            picture: (64, 64, 3) RGB, as it is observed.
            first: whether an episode begins with it, which has no reward.

        Raises:
            RobotError: the ball is not in the picture, and never was.
        """
        found = self._look.position(picture)
        if found is None and self._last is None:
            raise RobotError("arena: the ball is not in the picture: check camera, light and look")
        self._last = self._last if found is None else found
        distance = float(np.linalg.norm(self._last - GOAL))  # type: ignore[operator]
        info = {
            "distance": distance,
            "success": distance < SUCCESS_RADIUS,
            "seen": found is not None,
        }
        return Reading({CAMERA: picture}, 0.0 if first else -distance, info=info)


def observation_space() -> spaces.Dict:
    """`camera`, (64, 64, 3) uint8: the arena from above, RGB. Neither position nor heading."""
    return spaces.Dict({CAMERA: spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)})


def action_space() -> spaces.Box:
    """(2,) in [-1, 1]: power of the left and the right motor; (1, 1) is straight ahead."""
    return spaces.Box(-1.0, 1.0, (2,), np.float32)


def sent_action(action: Action) -> Action:
    """(2,) float32, clipped to [-1, 1]. Raises RobotError unless it is two finite numbers."""
    if np.shape(action) != (2,) or not np.isfinite(action).all():
        raise RobotError(f"arena: expected two finite numbers as action, got {action!r}")
    return np.clip(action, -1, 1).astype(np.float32)


def motor_powers(action: Action) -> tuple[int, int]:
    """Left and right power of the hardware, in [-70, 70] of 255, for an action in [-1, 1]."""
    left, right = (round(float(part) * MAX_POWER) for part in sent_action(action))
    return left, right


def reset_moves(rng: np.random.Generator) -> Iterator[tuple[Action, float]]:
    """Actions and the seconds that each holds: five random ones of full power, then settling.

    Full power: the direction is random, the stronger of the two motors at 1 or -1.
    """
    for _ in range(RESET_MOVES):
        action = rng.uniform(-1, 1, 2)
        yield (action / np.abs(action).max()).astype(np.float32), RESET_MOVE_S
    yield np.zeros(2, np.float32), SETTLING_S


def hsv(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) hue in degrees, saturation and value in [0, 1], of an RGB picture.

    Grey has hue 0. Smith 1978, Color gamut transform pairs, the hexcone model.
    """
    rgb = picture.astype(np.float32) / 255
    value = rgb.max(-1)
    chroma = value - rgb.min(-1)
    red, green, blue = np.moveaxis(rgb, -1, 0)
    divisor = np.where(chroma > 0, chroma, 1)
    sector = np.select(
        [value == red, value == green],
        [((green - blue) / divisor) % 6, (blue - red) / divisor + 2],
        (red - green) / divisor + 4,
    )
    hue = np.where(chroma > 0, 60 * sector, 0) % 360
    saturation = chroma / np.where(value > 0, value, 1)
    return np.stack([hue, saturation, value], -1).astype(np.float32)
