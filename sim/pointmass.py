"""A point that must be pushed to the origin: the smallest robot worth learning, in NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.errors import RobotError
from robot_client.robot import Action, Reading
from robot_client.schema import Task

CONTROL_HZ = 10.0
MAX_ACCELERATION = 3.0  # per second squared
DAMPING = 1.0  # per second
REWARD_SCALE = 0.3  # distance at which the reward has fallen to 1/e
PIXELS = 32
DOT = 1.5  # of 32 pixels, standard deviation of the dot


class PointMass:
    """A damped point in the box [-1, 1]^dims with inelastic walls; the goal is its centre.

    The action (dims,) in [-1, 1] is the acceleration, in shares of `MAX_ACCELERATION`. The reward
    is exp(-distance / 0.3), in (0, 1]. An episode starts at rest, anywhere, lasts 50 steps of 0.1 s
    and is never terminal. The mean return of uniformly random actions is about 13 in one dimension
    and 5 in two; that of a damped spring towards the goal about 44 and 42.

    Observations:
        vector  (2 * dims,) float32: position, then velocity
        camera  (32, 32, 3) uint8, if asked for: a white dot at the position, a green one at the
                goal; x grows to the right and y upwards, or is the middle if there is no y

    Args:
        dims: 1 or 2.
        camera: whether there is a picture too.

    Raises:
        ValueError: another number of dimensions.
    """

    control_hz = CONTROL_HZ
    blend_steps = 0  # a simulation: a jump can hurt nobody
    task = Task("push-to-centre", episode_steps=50)

    def __init__(self, dims: int = 2, camera: bool = False) -> None:
        if dims not in (1, 2):
            raise ValueError(f"dims: expected 1 or 2, got {dims!r}")
        high = np.repeat(np.array([1, MAX_ACCELERATION / DAMPING], np.float32), dims)
        observed: dict[str, spaces.Space[Any]] = {
            "vector": spaces.Box(-high, high, dtype=np.float32)
        }
        if camera:
            observed["camera"] = spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)
        self.observation_space = spaces.Dict(observed)
        self.action_space = spaces.Box(-1.0, 1.0, (dims,), np.float32)
        self._rng = np.random.default_rng()
        self._position = np.zeros(dims)
        self._velocity = np.zeros(dims)
        self._steps = -1  # in this episode; -1 before the first

    def connect(self) -> None:
        """There is no device."""

    def reset(self, seed: int | None = None) -> None:
        """Put the point at rest anywhere; with a seed, nothing that went before matters."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._position = self._rng.uniform(-1, 1, self._position.shape)
        self._velocity = np.zeros_like(self._position)
        self._steps = 0

    def apply(self, action: Action) -> Action:
        """Push for one control period with this acceleration, clipped to [-1, 1].

        Raises RobotError before the first reset, and when the action is not `dims` finite numbers.
        """
        self._check_started()
        dims = self._position.size
        if np.shape(action) != (dims,) or not np.isfinite(action).all():
            raise RobotError(f"pointmass: expected {dims} finite numbers as action, got {action!r}")
        sent = np.clip(action, -1, 1).astype(np.float32)
        push = sent.astype(float) * MAX_ACCELERATION - DAMPING * self._velocity
        velocity = self._velocity + push / CONTROL_HZ
        position = self._position + velocity / CONTROL_HZ
        self._velocity = np.where(np.abs(position) > 1, 0.0, velocity)
        self._position = np.clip(position, -1, 1)
        self._steps += 1
        return sent

    def observe(self) -> Reading:
        """The present state, with the reward for having arrived in it."""
        self._check_started()
        vector = np.concatenate([self._position, self._velocity]).astype(np.float32)
        obs: dict[str, NDArray[Any]] = {"vector": vector}
        if "camera" in self.observation_space.spaces:
            obs["camera"] = _picture(self._position)
        distance = float(np.linalg.norm(vector[: self._position.size]))
        reward = float(np.exp(-distance / REWARD_SCALE)) if self._steps else 0.0
        return Reading(obs, reward, info={"distance": distance})

    def picture(self, pixels: int = 256) -> NDArray[np.uint8]:
        """(pixels, pixels, 3) view for people: the camera's, whatever is observed."""
        self._check_started()
        return _picture(self._position, pixels)

    def stop(self) -> None:
        """Nothing to do: no push outlasts `apply`."""

    def close(self) -> None:
        """There is no device."""

    def _check_started(self) -> None:
        if self._steps < 0:
            raise RobotError("pointmass: reset it first")


def _picture(position: NDArray[np.float64], pixels: int = PIXELS) -> NDArray[np.uint8]:
    """(pixels, pixels, 3): soft dots, so that a move of less than a pixel shows."""
    y = position[1] if position.size == 2 else 0.0
    goal, point = _dot(0.0, 0.0, pixels), _dot(position[0], y, pixels)
    picture = np.stack([point, np.maximum(point, goal), point], -1)
    return np.round(picture * 255).astype(np.uint8)


def _dot(x: float, y: float, pixels: int) -> NDArray[np.float64]:
    """(pixels, pixels) brightness in [0, 1] of a dot at (x, y); a sixteenth is the box's margin."""
    middle, scale, width = (pixels - 1) / 2, pixels * 7 / 16, DOT * pixels / PIXELS
    column = np.arange(pixels) - (middle + x * scale)
    row = np.arange(pixels)[:, None] - (middle - y * scale)
    dot: NDArray[np.float64] = np.exp(-(column**2 + row**2) / (2 * width**2))
    return dot
