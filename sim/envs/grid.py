"""Mazes with numbered squares: the base of the tabular environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sim.envs.pixels import BRICKS, FLAG, PERSON, Drawn, Picture, mosaic, plain, sprite

Square = tuple[int, int]  # row, column; (0, 0) is the top left

MOVES: tuple[Square, ...] = ((-1, 0), (1, 0), (0, -1), (0, 1))  # up, down, left, right
_WALL, _FLOOR, _GOAL, _PERSON = range(4)


def walls_of(maze: str) -> NDArray[np.bool_]:
    """(H, W): where the lines of a drawn maze have a #."""
    return np.array([[letter == "#" for letter in line] for line in maze.split()])


class Grid(Drawn):
    """A walker in a maze; what is outside of it is wall.

    The observation is the number of the square, row by row from the top left. The actions are up,
    down, left and right; into a wall the walker stays. The episode ends on the goal.

    Args:
        maze: rows of letters, # for a wall.
        starts: squares of which each episode begins on one, drawn evenly.
        goal: where the episode ends.
        rewards: of a step, and what arriving at the goal adds.
        render_mode: `rgb_array` or None.
    """

    def __init__(
        self,
        maze: str,
        starts: Sequence[Square],
        goal: Square,
        rewards: tuple[float, float],
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        self.walls, self.starts, self.goal = walls_of(maze), tuple(starts), goal
        self.square: Square = self.starts[0]
        self._rewards = rewards
        self.observation_space = spaces.Discrete(self.walls.size)
        self.action_space = spaces.Discrete(len(MOVES))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Begin on one of the starts."""
        super().reset(seed=seed)
        self.square = self.starts[int(self.np_random.integers(len(self.starts)))]
        return self._number(), {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """One move."""
        row, column = (a + b for a, b in zip(self.square, MOVES[action], strict=True))
        height, width = self.walls.shape
        if 0 <= row < height and 0 <= column < width and not self.walls[row, column]:
            self.square = (row, column)
        arrived = self.square == self.goal
        step, goal = self._rewards
        return self._number(), step + goal * arrived, arrived, False, {}

    def _number(self) -> np.int64:
        return np.int64(self.square[0] * self.walls.shape[1] + self.square[1])

    def _picture(self) -> Picture:
        codes = np.where(self.walls, _WALL, _FLOOR)
        codes[self.goal] = _GOAL
        codes[self.square] = _PERSON
        floor = plain("f")
        floor[-1], floor[:, -1] = floor[-1] - 14, floor[:, -1] - 14  # the squares can be counted
        tiles = [plain("m"), floor, sprite(FLAG, floor), sprite(PERSON, floor)]
        tiles[_WALL] = sprite(BRICKS, tiles[_WALL])
        return mosaic(np.pad(codes, 1), np.stack(tiles))
