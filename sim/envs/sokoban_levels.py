"""Sokoban levels, made by playing backwards from the solved state, so that each can be solved.

Weber et al. 2017 (I2A), appendix: rooms are carved by a random walk, targets and boxes
put on the floor, and boxes pulled away. The carving, and the search for the farthest state, are our
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

MAX_MOVES = 100  # a solution of so many moves or fewer exists: episodes have 120 steps
WALK = 15  # of these moves, from where the player begins to the last box that was pulled
STATES = 150  # looked at backwards from the solved one
CHANCE = 2.0  # pushes by which the search is led astray, so that levels differ
TURN = 0.15  # how often the carver changes its direction
FLOOR_SHARE = 0.6  # of the squares inside the border, at which it stops

_State = tuple[int, frozenset[int]]  # player, boxes

# What is carved around the carver: (row, column) offsets.
_BRUSHES = (
    ((0, 0), (0, -1), (0, 1)),
    ((0, 0), (-1, 0), (1, 0)),
    ((0, 0), (0, 1), (1, 0)),
    ((0, 0), (0, -1), (-1, 0)),
)


@dataclass(frozen=True)
class Level:
    """A board and where things stand at first. Squares are numbered row by row.

    Args:
        walls, targets: (H, W); the border is wall, and there are as many targets as boxes.
        boxes: their squares.
        player: its square.
    """

    walls: NDArray[np.bool_]
    targets: NDArray[np.bool_]
    boxes: frozenset[int]
    player: int


def read_level(drawing: str) -> Level:
    """A level drawn in the usual letters, line by line; what is none of them is floor.

        # wall   . target   $ box   * box on target   @ player   + player on target

    Raises ValueError when there is not one player, or not a target for each box.
    """
    letters = np.array([list(line) for line in drawing.split()])
    players = np.flatnonzero(np.isin(letters, ["@", "+"]))
    boxes = frozenset(int(square) for square in np.flatnonzero(np.isin(letters, ["$", "*"])))
    targets = np.isin(letters, [".", "*", "+"])
    if len(players) != 1 or targets.sum() != len(boxes):
        counts = f"{len(players)}, {len(boxes)} and {targets.sum()}"
        raise ValueError(f"level: expected one player, as many boxes as targets, got {counts}")
    return Level(letters == "#", targets, boxes, int(players[0]))


def steps_of(width: int) -> tuple[int, int, int, int]:
    """What up, down, left and right add to a square's number."""
    return (-width, width, -1, 1)


def distances(start: int, free: frozenset[int], width: int) -> dict[int, int]:
    """Moves from the start to every free square that can be walked to."""
    found, steps = {start: 0}, steps_of(width)
    frontier = [start]
    for square in frontier:  # grows while it is read
        for step in steps:
            near = square + step
            if near in free and near not in found:
                found[near] = found[square] + 1
                frontier.append(near)
    return found


def pushes_needed(targets: frozenset[int], floor: frozenset[int], width: int) -> dict[int, int]:
    """Pushes from a square to the nearest target, on a board without other boxes.

    Squares from where no target can be reached are not in it.
    """
    found = dict.fromkeys(sorted(targets), 0)
    frontier = list(found)
    for square in frontier:  # grows while it is read: pulls, backwards from the targets
        for step in steps_of(width):
            before = square + step
            if before in floor and before + step in floor and before not in found:
                found[before] = found[square] + 1
                frontier.append(before)
    return found


def generate(
    rng: np.random.Generator, size: int, boxes: int, backwards: int | None = None
) -> Level:
    """A level of size x size squares with this many boxes.

    It depends on the generator and what is asked only, and can be solved in at most `MAX_MOVES`
    moves. No box is on a target; but with `backwards` it is easier: so many random moves lead to it
    from the solved state, backwards, and some boxes may have stayed.
    """
    while True:
        floor = _carve(rng, size, boxes)
        targets = frozenset(int(s) for s in rng.choice(sorted(floor), boxes, replace=False))
        if backwards is not None:
            player, pulled = _wander(rng, floor, targets, size, backwards)
            if pulled != targets:
                return Level(~_mask(floor, size), _mask(targets, size), pulled, player)
            continue
        found = _farthest(rng, floor, targets, size)
        if found is not None:
            walk = distances(found[0], floor - found[1], size)
            near = [square for square, moves in walk.items() if moves <= WALK]
            player = near[rng.integers(len(near))]
            return Level(~_mask(floor, size), _mask(targets, size), found[1], player)


def _wander(
    rng: np.random.Generator, floor: frozenset[int], targets: frozenset[int], size: int, moves: int
) -> _State:
    """The player and the boxes after random moves from the solved state, which pull if they can."""
    player, boxes = int(rng.choice(sorted(floor - targets))), targets
    for way in rng.integers(4, size=moves):
        step = steps_of(size)[way]
        if player + step in floor - boxes:
            if player - step in boxes:
                boxes = boxes - {player - step} | {player}
            player += step
    return player, boxes


def _mask(squares: frozenset[int], size: int) -> NDArray[np.bool_]:
    mask = np.zeros(size * size, bool)
    mask[list(squares)] = True
    return mask.reshape(size, size)


def _carve(rng: np.random.Generator, size: int, boxes: int) -> frozenset[int]:
    """The floor: connected, nowhere on the border, and with room for the boxes."""
    goal = max(FLOOR_SHARE * (size - 2) ** 2, 3 * boxes + 4)
    row, column = (int(i) for i in rng.integers(1, size - 1, 2))
    floor: set[int] = {row * size + column}
    heading = 0
    while len(floor) < goal:
        turn, way, brush = rng.random(), rng.integers(4), rng.integers(len(_BRUSHES))
        heading = int(way) if turn < TURN else heading
        down, right = ((-1, 0), (1, 0), (0, -1), (0, 1))[heading]
        row, column = (min(max(i, 1), size - 2) for i in (row + down, column + right))
        for a, b in _BRUSHES[brush]:
            if 0 < row + a < size - 1 and 0 < column + b < size - 1:
                floor.add((row + a) * size + column + b)
    return frozenset(floor)


def _farthest(
    rng: np.random.Generator, floor: frozenset[int], targets: frozenset[int], size: int
) -> _State | None:
    """The player and the boxes, played back from the solved state as far as a short search gets.

    None when not all boxes could leave the targets.
    """
    needed = pushes_needed(targets, floor, size)
    start: _State = (int(rng.choice(sorted(floor - targets))), targets)
    queue, seen = [(0.0, 0, start)], {start}
    best, farthest = None, 0
    for _ in range(STATES):
        if not queue:
            break
        _, moves, state = heappop(queue)
        distance = sum(needed[box] for box in state[1])
        if distance > farthest and targets.isdisjoint(state[1]):
            best, farthest = state, distance
        for cost, after in _pulls(state, floor, size):
            if after not in seen and moves + cost <= MAX_MOVES - WALK:
                seen.add(after)
                gain = sum(needed[box] for box in after[1])
                heappush(queue, (CHANCE * rng.random() - gain, moves + cost, after))
    return best


def _pulls(state: _State, floor: frozenset[int], size: int) -> Iterator[tuple[int, _State]]:
    """What one pull leads to, with the moves that it takes."""
    player, boxes = state
    free = floor - boxes
    walk = distances(player, free, size)
    for box in sorted(boxes):
        for step in steps_of(size):
            stand, end = box + step, box + 2 * step
            if stand in walk and end in free:
                yield walk[stand] + 1, (end, boxes - {box} | {stand})
