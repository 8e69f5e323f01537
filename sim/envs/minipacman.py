"""MiniPacman: one small maze, five tasks that differ in their rewards only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sim.envs.grid import MOVES, Square, walls_of
from sim.envs.pixels import TILE, Drawn, Picture, halved, mosaic, plain, sprite

Observe = Literal["image", "planes"]


class Mode(NamedTuple):
    """Rewards of a task, and when a level is cleared: when none is left of something, or in time.

    Args:
        step, food, pill, ghost: for a step, and for each thing eaten.
        killed: for being eaten by a ghost, which ends the episode.
        until: what must be eaten up; empty for nothing.
        steps: after so many the level is cleared, too.
    """

    step: float
    food: float
    pill: float
    ghost: float
    killed: float
    until: str
    steps: int | None


MODES: dict[str, Mode] = {
    "regular": Mode(0, 1, 2, 5, 0, "food", None),
    "avoid": Mode(0.1, -0.1, -5, -10, -20, "", 128),
    "hunt": Mode(0, 0, 1, 10, -20, "ghosts", 80),
    "ambush": Mode(0, -0.1, 0, 10, -20, "ghosts", 80),
    "rush": Mode(0, -0.1, 9.9, 0, 0, "pills", None),
}
MAZE = """
###################
#........#........#
#.##.###.#.###.##.#
#.................#
#.##.#.#####.#.##.#
#....#...#...#....#
#.##.###.#.###.##.#
#..#...........#..#
##.#.#.#####.#.#.##
#....#...#...#....#
#.######.#.######.#
#.................#
#.###.#.###.#.###.#
#.....#.....#.....#
###################
"""
PILLS = 2
POWER_STEPS = 20  # that the effect of a power pill lasts
SAFE_DISTANCE = 5  # squares: no ghost begins nearer in both directions

_SIDE = 20  # tiles of the square picture; below the maze, one tile for each step of power
_TOP, _BAR_ROW = 1, 17
_PACMAN = "..yyyy.. .yyyyyy. yyykyy.. yyyyy... yyyy.... yyyyyy.. .yyyyyy. ..yyyy.."
_GHOST = "..rrrr.. .rrrrrr. rwwrrwwr rwkrrwkr rrrrrrrr rrrrrrrr rrrrrrrr r.rr.rr."
_FOOD = "........ ........ ........ ........ ....ss.. ....ss.. ........ ........"
_PILL = "........ ..pppp.. .pppppp. .pppppp. .pppppp. .pppppp. ..pppp.. ........"
_BAR = "........ pppppppp pppppppp pppppppp pppppppp pppppppp pppppppp ........"
_FLOOR, _WALL, _FOOD_TILE, _PILL_TILE, _GHOST_TILE, _SCARED, _PAC, _BAR_TILE = range(8)


class MiniPacman(Drawn):
    """Pac-Man on 15 x 19 squares, as in the I2A paper's appendix.

    Weber et al. 2017: food on every square, two power pills, 1 + (level - 1) // 2 ghosts
    and Pac-Man at random places. A pill lasts 20 steps: Pac-Man makes two moves a step and eats the
    ghosts, which flee. Otherwise they chase him, and being met ends the episode. Ghosts make one
    move a step and decide at crossings only, never turning back. A cleared level is followed by
    the next. The maze is our own, of the paper's size and without dead ends.

    Actions: up, down, left, right, stay. Observations, by `observe`:
        image   (80, 80, 3) uint8: squares of 4 x 4 pixels, and below a bar, the power that is left
        planes  (15, 19, 6) float32 in [0, 1]: walls, food, pills, Pac-Man, ghosts that hunt, and
                ghosts that flee, as the share of the power that is left

    Args:
        mode: the task, a key of `MODES`.
        observe: which observation.
        render_mode: `rgb_array` or None.

    Raises:
        ValueError: there is no such mode or observation.
    """

    def __init__(
        self,
        mode: str = "regular",
        observe: Observe = "image",
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        if mode not in MODES:
            raise ValueError(f"mode: expected one of {sorted(MODES)}, got {mode!r}")
        if observe not in get_args(Observe):
            raise ValueError(f"observe: expected one of {get_args(Observe)}, got {observe!r}")
        self._mode, self._observe = MODES[mode], observe
        self.walls = walls_of(MAZE)
        self.observation_space: spaces.Box
        if observe == "image":
            side = _SIDE * TILE // 2
            self.observation_space = spaces.Box(0, 255, (side, side, 3), np.uint8)
        else:
            self.observation_space = spaces.Box(0.0, 1.0, (*self.walls.shape, 6), np.float32)
        self.action_space = spaces.Discrete(len(MOVES) + 1)
        self._tiles = _tiles()
        self._small_tiles = halved(self._tiles)
        self.level: Level | None = None  # once there has been a reset

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begin the first level."""
        super().reset(seed=seed)
        self.level = Level(self.walls, self.np_random, 1)
        return self._obs(self.level), {"level": 1}

    def step(self, action: np.int64) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Pac-Man moves, then the ghosts."""
        level, mode = self._started(), self._mode
        eaten = level.play(int(action))
        reward = mode.step + mode.food * eaten.food + mode.pill * eaten.pills
        reward += mode.ghost * eaten.ghosts + mode.killed * eaten.killed
        if not eaten.killed and level.cleared(mode):
            self.level = level = Level(self.walls, self.np_random, level.number + 1)
        return self._obs(level), float(reward), eaten.killed, False, {"level": level.number}

    def _started(self) -> Level:
        if self.level is None:
            raise RuntimeError("minipacman: reset it first")
        return self.level

    def _obs(self, level: Level) -> NDArray[Any]:
        if self._observe == "image":
            return mosaic(_codes(level), self._small_tiles)
        planes = np.zeros((6, *level.walls.shape), np.float32)
        planes[0], planes[1] = level.walls, level.food
        hunting, fleeing = (0.0, level.power / POWER_STEPS) if level.power else (1.0, 0.0)
        for square in level.pills:
            planes[2][square] = 1
        planes[3][level.pacman] = 1
        for ghost in level.ghosts:
            planes[4][ghost.square], planes[5][ghost.square] = hunting, fleeing
        return planes.transpose(1, 2, 0).copy()

    def _picture(self) -> Picture:
        return mosaic(_codes(self._started()), self._tiles)


@dataclass
class Ghost:
    """Where a ghost is, and the index in `MOVES` of where it is going."""

    square: Square
    heading: int


@dataclass
class Eaten:
    """What was eaten in one step, Pac-Man included."""

    food: int = 0
    pills: int = 0
    ghosts: int = 0
    killed: bool = False


class Level:
    """Things in the maze, and the rules by which they move.

    Args:
        walls: (H, W).
        rng: places Pac-Man, pills and ghosts.
        number: from 1; tells how many ghosts there are.
    """

    def __init__(self, walls: NDArray[np.bool_], rng: np.random.Generator, number: int) -> None:
        self.walls, self.number = walls, number
        self.power = self.steps = 0
        free: list[Square] = [(int(row), int(column)) for row, column in np.argwhere(~walls)]
        order = [free[i] for i in rng.permutation(len(free))]
        self.pacman, *rest = order
        self.pills = set(rest[:PILLS])
        far = [square for square in rest if _far(square, self.pacman)]
        places = far[: 1 + (number - 1) // 2]
        self.ghosts = [Ghost(square, int(rng.integers(len(MOVES)))) for square in places]
        self.food = ~walls
        for square in (self.pacman, *self.pills):
            self.food[square] = False

    def play(self, action: int) -> Eaten:
        """One step: Pac-Man's moves, then each ghost's; they meet where one comes upon another."""
        eaten, strong = Eaten(), self.power > 0
        self.steps += 1
        for _ in range(2 if strong else 1):
            if not eaten.killed:
                self.pacman = self._next(self.pacman, action)
                self._eat(eaten)
                self._meet(eaten)
        for ghost in self.ghosts:
            ghost.heading = self._heading(ghost)
            ghost.square = self._next(ghost.square, ghost.heading)
        self._meet(eaten)
        if strong and not eaten.pills:
            self.power -= 1
        return eaten

    def cleared(self, mode: Mode) -> bool:
        """Whether the next level is due."""
        left = {"food": self.food.any(), "pills": bool(self.pills), "ghosts": bool(self.ghosts)}
        return self.steps == mode.steps or not left.get(mode.until, True)

    def _next(self, square: Square, action: int) -> Square:
        """Where a move ends. Against a wall, or with an action beyond the moves, where it began."""
        if action >= len(MOVES):
            return square
        after = (square[0] + MOVES[action][0], square[1] + MOVES[action][1])
        return square if self.walls[after] else after

    def _eat(self, eaten: Eaten) -> None:
        if self.food[self.pacman]:
            self.food[self.pacman] = False
            eaten.food += 1
        if self.pacman in self.pills:
            self.pills.remove(self.pacman)
            self.power = POWER_STEPS
            eaten.pills += 1

    def _meet(self, eaten: Eaten) -> None:
        others = [ghost for ghost in self.ghosts if ghost.square != self.pacman]
        met = len(self.ghosts) - len(others)
        if self.power:
            self.ghosts = others
            eaten.ghosts += met
        elif met:
            eaten.killed = True

    def _heading(self, ghost: Ghost) -> int:
        """In a corridor on; at a crossing towards Pac-Man, or away from him while he is strong."""
        ways = [way for way in range(4) if self._next(ghost.square, way) != ghost.square]
        if len(ways) == 2 and ghost.heading in ways:
            return ghost.heading
        back = ghost.heading ^ 1  # up and down, left and right are neighbours in `MOVES`
        ways = [way for way in ways if way != back] or ways
        towards = np.subtract(self.pacman, ghost.square)
        scores = [int(np.dot(towards, MOVES[way])) for way in ways]
        best = min(scores) if self.power else max(scores)
        return ways[scores.index(best)]


def _far(square: Square, other: Square) -> bool:
    return max(abs(square[0] - other[0]), abs(square[1] - other[1])) >= SAFE_DISTANCE


def _codes(level: Level) -> NDArray[np.int64]:
    """(20, 20): the number of each tile of the picture."""
    codes = np.full((_SIDE, _SIDE), _FLOOR)
    height, width = level.walls.shape
    maze = codes[_TOP : _TOP + height, :width]
    maze[:] = np.where(level.walls, _WALL, np.where(level.food, _FOOD_TILE, _FLOOR))
    for pill in level.pills:
        maze[pill] = _PILL_TILE
    for ghost in level.ghosts:
        maze[ghost.square] = _SCARED if level.power else _GHOST_TILE
    maze[level.pacman] = _PAC
    codes[_BAR_ROW, : level.power] = _BAR_TILE
    return codes


def _tiles() -> NDArray[np.uint8]:
    """(8, 8, 8, 3), in the order of the numbers above."""
    night = plain("e")
    scared = _GHOST.replace("r", "c")
    arts = (_FOOD, _PILL, _GHOST, scared, _PACMAN, _BAR)
    return np.stack([night, plain("u"), *(sprite(art, night) for art in arts)])
