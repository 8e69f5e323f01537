"""Sokoban: push every box onto a target. What is pushed into a corner stays there."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sim.envs.pixels import BRICKS, PERSON, TILE, Drawn, Picture, mosaic, plain, sprite
from sim.envs.sokoban_levels import Level, generate, steps_of

Observe = Literal["image", "planes"]

STEP_REWARD = -0.1
ON_TARGET = 1.0  # for a box pushed on; the same is lost for one pushed off
SOLVED = 10.0
MAX_BOXES = 4
MAX_BACKWARDS = 60

_RING = "........ ..rrrr.. .r....r. .r.rr.r. .r.rr.r. .r....r. ..rrrr.. ........"
_CRATE = "kkkkkkkk knllllnk klnllnlk kllnnllk kllnnllk klnllnlk knllllnk kkkkkkkk"
_STORED = _CRATE.replace("n", "d").replace("l", "v")
_FLOOR, _WALL, _TARGET, _BOX, _BOX_ON, _PLAYER, _PLAYER_ON = range(7)


class Sokoban(Drawn):
    """Sokoban with rules, rewards and limit of the I2A paper, on levels generated from the seed.

    Weber et al. 2017, appendix: -0.1 for a step, +1 for a box pushed onto a target, -1
    for one pushed off, +10 when all are on targets, which ends the episode; 120 steps by the
    registered limit. Actions: up, down, left, right and, with `noop`, stay. Walking into a wall, or
    pushing a box that cannot move, is a step that changes nothing.

    Observations, by `observe`:
        image   (8 S, 8 S, 3) uint8: sprites of 8 x 8 pixels
        planes  (S, S, 4) float32 of 0 and 1: walls, targets, boxes, the player

    Args:
        size: S, squares in height and width with the border.
        boxes: how many boxes and targets, 1 to 4.
        backwards: for easier levels, so many random moves away from the solved state, 1 to 60; None
            takes those that are as far as a short search gets.
        observe: which observation.
        noop: whether there is an action to stay, the last one.
        render_mode: `rgb_array` or None.

    Raises:
        ValueError: an argument is outside of its range.
    """

    def __init__(
        self,
        size: int = 10,
        boxes: int = 4,
        backwards: int | None = None,
        observe: Observe = "image",
        noop: bool = True,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        _check(size, boxes, observe)
        if backwards is not None and not 1 <= backwards <= MAX_BACKWARDS:
            raise ValueError(f"backwards: expected 1 to {MAX_BACKWARDS}, got {backwards}")
        self._size, self._boxes, self._observe = size, boxes, observe
        self._backwards = backwards
        self.observation_space: spaces.Box
        if observe == "image":
            self.observation_space = spaces.Box(0, 255, (size * TILE, size * TILE, 3), np.uint8)
        else:
            self.observation_space = spaces.Box(0.0, 1.0, (size, size, 4), np.float32)
        self.action_space = spaces.Discrete(5 if noop else 4)
        self._tiles = _tiles()
        self.level: Level | None = None  # as it is now, once there has been a reset

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begin a new level: generated, or the `Level` given as `options["level"]`.

        Raises ValueError when the given one is of another size.
        """
        super().reset(seed=seed)
        given: Level | None = (options or {}).get("level")
        if given is not None and given.walls.shape != (self._size, self._size):
            raise ValueError(
                f"level: expected {self._size} squares a side, got {given.walls.shape}"
            )
        self.level = given or generate(self.np_random, self._size, self._boxes, self._backwards)
        return self._obs(self.level), {"boxes_on_target": self._stored(self.level)}

    def step(self, action: np.int64) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """One move, and the push that goes with it."""
        before = self._started()
        after = self.level = moved(before, int(action))
        stored = self._stored(after)
        solved = stored == len(after.boxes)
        reward = STEP_REWARD + ON_TARGET * (stored - self._stored(before)) + SOLVED * solved
        return self._obs(after), reward, solved, False, {"boxes_on_target": stored}

    def _started(self) -> Level:
        if self.level is None:
            raise RuntimeError("sokoban: reset it first")
        return self.level

    def _stored(self, level: Level) -> int:
        return int(level.targets.flat[list(level.boxes)].sum())

    def _obs(self, level: Level) -> NDArray[Any]:
        if self._observe == "image":
            return mosaic(_codes(level), self._tiles)
        boxes, player = np.zeros((2, *level.walls.shape), bool)
        boxes.flat[list(level.boxes)], player.flat[level.player] = True, True
        return np.stack([level.walls, level.targets, boxes, player], -1).astype(np.float32)

    def _picture(self) -> Picture:
        return mosaic(_codes(self._started()), self._tiles)


def moved(level: Level, action: int) -> Level:
    """The level after one move; actions from 4 on stay."""
    if action >= 4:
        return level
    step = steps_of(level.walls.shape[1])[action]
    near, beyond = level.player + step, level.player + 2 * step
    if level.walls.flat[near]:
        return level
    boxes = level.boxes
    if near in boxes:
        if beyond in boxes or level.walls.flat[beyond]:
            return level
        boxes = boxes - {near} | {beyond}
    return Level(level.walls, level.targets, boxes, near)


def _check(size: int, boxes: int, observe: str) -> None:
    if not 1 <= boxes <= MAX_BOXES:
        raise ValueError(f"boxes: expected 1 to {MAX_BOXES}, got {boxes}")
    least = 7 if boxes > 1 else 5
    if size < least:
        raise ValueError(f"size: expected at least {least} for {boxes} boxes, got {size}")
    if observe not in get_args(Observe):
        raise ValueError(f"observe: expected one of {get_args(Observe)}, got {observe!r}")


def _codes(level: Level) -> NDArray[np.int64]:
    """(H, W): the number of each square's tile."""
    codes = np.where(level.walls, _WALL, np.where(level.targets, _TARGET, _FLOOR))
    for box in level.boxes:
        codes.flat[box] = _BOX_ON if level.targets.flat[box] else _BOX
    codes.flat[level.player] = _PLAYER_ON if level.targets.flat[level.player] else _PLAYER
    return codes


def _tiles() -> NDArray[np.uint8]:
    """(7, 8, 8, 3), in the order of the numbers above."""
    floor, wall = plain("f"), sprite(BRICKS, plain("m"))
    target = sprite(_RING, floor)
    boxes = [sprite(_CRATE, floor), sprite(_STORED, floor)]
    return np.stack([floor, wall, target, *boxes, sprite(PERSON, floor), sprite(PERSON, target)])
