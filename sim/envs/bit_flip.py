"""Bit flipping: the smallest problem in which a sparse reward is never found by chance."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.rewards import Goals, Within
from robot_client.schema import Task
from sim.envs.pixels import Drawn, Picture, mosaic, plain, sprite

Bits = NDArray[np.float32]  # (..., n)


class BitFlip(Drawn):
    """Make n bits equal to n others, flipping one at a time; 0 when they are, -1 when they are not.

    Hindsight experience replay (Andrychowicz et al. 2017, section 3.1): start and goal are drawn
    evenly; the episode ends on success and is cut after n steps. Should they be drawn equal, a bit
    of the goal is flipped, so that there is something to do.

    The observation is a dict of three (n,) float32 of 0 and 1: `observation`, `achieved_goal` (the
    same bits) and `desired_goal`. Action i flips bit i.

    Args:
        bits: n.
        render_mode: `rgb_array` or None.

    Raises:
        ValueError: there are no bits.
    """

    def __init__(self, bits: int = 15, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        if bits < 1:
            raise ValueError(f"bits: expected at least 1, got {bits}")
        vector = spaces.Box(0.0, 1.0, (bits,), np.float32)
        keys = ("observation", "achieved_goal", "desired_goal")
        self.observation_space = spaces.Dict(dict.fromkeys(keys, vector))
        self.action_space = spaces.Discrete(bits)
        self.task = Task(
            "bit-flip",
            reward=Within("achieved_goal", "desired_goal", within=0.5),
            goals=Goals(within=0.5, ends=True),
        )
        self._bits = self._goal = np.zeros(bits, np.float32)
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Bits], dict[str, Any]]:
        """Draw the bits and the goal."""
        super().reset(seed=seed)
        self._steps = 0
        self._bits, self._goal = self.np_random.integers(2, size=(2, self._bits.size)).astype("f4")
        if np.array_equal(self._bits, self._goal):
            other = self.np_random.integers(self._goal.size)
            self._goal[other] = 1 - self._goal[other]
        return self._obs(), {}

    def step(self, action: np.int64) -> tuple[dict[str, Bits], float, bool, bool, dict[str, Any]]:
        """Flip one bit."""
        self._bits[action] = 1 - self._bits[action]
        reward = float(self.compute_reward(self._bits, self._goal, {}))
        self._steps += 1
        solved = reward == 0
        cut = not solved and self._steps == self._bits.size
        return self._obs(), reward, solved, cut, {"is_success": solved}

    def compute_reward(self, achieved_goal: Bits, desired_goal: Bits, info: Any) -> Bits:
        """0 where all bits agree, -1 elsewhere: (..., n) and (..., n) to (...) float32.

        For goals put in afterwards; `info` is not used, it belongs to the custom of such functions.
        """
        equal: Bits = np.all(achieved_goal == desired_goal, -1).astype(np.float32)
        return equal - 1

    def _obs(self) -> dict[str, Bits]:
        return {
            "observation": self._bits.copy(),
            "achieved_goal": self._bits.copy(),
            "desired_goal": self._goal.copy(),
        }

    def _picture(self) -> Picture:
        """The bits above, the goal below; between them red where they differ."""
        differ = np.where(self._bits != self._goal, 3, 2)
        codes = np.stack([self._bits, differ, self._goal]).astype(np.int64)
        rim = "kkkkkkkk k......k k......k k......k k......k k......k k......k kkkkkkkk"
        cross = "........ .rr..rr. .rrrrrr. ..rrrr.. ..rrrr.. .rrrrrr. .rr..rr. ........"
        tiles = [sprite(rim, plain(letter)) for letter in "fb"] + [plain("m"), plain("m")]
        tiles[3] = sprite(cross, tiles[2])
        return mosaic(np.pad(codes, 1, constant_values=2), np.stack(tiles))
