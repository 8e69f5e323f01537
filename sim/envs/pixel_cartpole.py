"""Cart-pole from single small pictures, in which speeds cannot be seen."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sim.envs.extras import drawn
from sim.envs.pixels import enlarged

CONTROL_HZ = 50
PIXELS = 24
FORCE, GRAVITY, CART, POLE, HALF = 10.0, 9.8, 1.0, 0.1, 0.5  # N, m/s^2, kg, kg, m
TRACK, TILT = 2.4, math.radians(12)  # m, rad: beyond, the episode ends
# Where an episode begins, uniform to both sides: m, m/s, rad, rad/s. With Gymnasium's 0.05 for all,
# a controller that sees no speeds does well too.
START = np.array([0.05, 0.3, 0.05, 0.6])
_GROUND, _TOP, _CART = 20.0, 4.0, 2.5  # rows of the cart and of the pole's tip; half a cart, pixels
_BLUR = 0.7  # pixels

State = NDArray[np.float64]


class PixelCartPole(gymnasium.Env[NDArray[np.uint8], np.int64]):
    """Gymnasium's CartPole-v1 seen as one grey picture (24, 24, 1) uint8, at 50 Hz.

    Actions: 0 pushes to the left, 1 to the right. The reward is 1 a step; a pole that tilts by more
    than 12 degrees, or a cart that leaves the track, ends the episode. It begins in motion, see
    `START`.

    Args:
        render_mode: `rgb_array` or nothing.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012, gymnasium's own type
        "render_modes": ["rgb_array"],
        "render_fps": CONTROL_HZ,
    }

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = drawn(render_mode)
        self.observation_space = spaces.Box(0, 255, (PIXELS, PIXELS, 1), np.uint8)
        self.action_space = spaces.Discrete(2)
        self._state = np.zeros((1, 4))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin somewhere near the middle, in motion."""
        super().reset(seed=seed)
        self._state = begin(1, self.np_random)
        return draw(self._state)[0], {}

    def step(self, action: np.int64) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Push for a fiftieth of a second."""
        self._state = push(self._state, np.array([action]))
        return draw(self._state)[0], 1.0, bool(fallen(self._state)[0]), False, {}

    def render(self) -> NDArray[np.uint8] | None:
        """The picture, enlarged, (240, 240, 3), if `render_mode` is set."""
        return None if self.render_mode is None else enlarged(draw(self._state)[0].repeat(3, -1))


def begin(count: int, rng: np.random.Generator) -> State:
    """(N, 4) place, speed, angle and its rate, as episodes begin."""
    return rng.uniform(-START, START, (count, 4))


def push(state: State, action: NDArray[np.integer[Any]]) -> State:
    """(N, 4) after one step of (N,) actions: Euler, as in Barto, Sutton and Anderson (1983)."""
    _, speed, angle, rate = state.T
    force = np.where(action == 1, FORCE, -FORCE)
    sine, cosine, mass = np.sin(angle), np.cos(angle), CART + POLE
    common = (force + POLE * HALF * rate**2 * sine) / mass
    turn = (GRAVITY * sine - cosine * common) / (HALF * (4 / 3 - POLE * cosine**2 / mass))
    drive = common - POLE * HALF * turn * cosine / mass
    return state + np.stack([speed, drive, rate, turn], -1) / CONTROL_HZ


def fallen(state: State) -> NDArray[np.bool_]:
    """(N,) whether the episode is over."""
    over: NDArray[np.bool_] = (np.abs(state[:, 0]) > TRACK) | (np.abs(state[:, 2]) > TILT)
    return over


def draw(state: State) -> NDArray[np.uint8]:
    """(N, 24, 24, 1) pictures: the track fills the width, the pole most of the height."""
    rows, columns = np.arange(PIXELS)[:, None], np.arange(PIXELS)
    middle = (PIXELS - 1) / 2
    cart = (middle + state[:, 0] / TRACK * middle)[:, None, None]
    leaning = cart + np.tan(state[:, 2])[:, None, None] * (_GROUND - rows)
    pole = np.exp(-0.5 * ((columns - leaning) / _BLUR) ** 2) * ((rows >= _TOP) & (rows <= _GROUND))
    box = np.clip(_CART + 0.5 - np.abs(columns - cart), 0, 1) * (np.abs(rows - _GROUND) <= 1)
    lit: NDArray[np.float64] = np.maximum(pole, 0.6 * box)
    return np.rint(255 * lit).astype(np.uint8)[..., None]
