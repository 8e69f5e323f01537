"""A search that solves Sokoban levels in as few moves as can be: A* over pushes."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count

import numpy as np

from sim.envs.sokoban_levels import Level, distances, pushes_needed, steps_of

_State = tuple[int, frozenset[int]]  # player, boxes
_Push = tuple[_State, int, int]  # the state before, the square of the box, the step


def solve(level: Level, max_states: int = 200_000) -> list[int] | None:
    """The actions of a shortest solution, 0 to 3 for up, down, left and right.

    None when there is no solution, or none was found in so many states.
    """
    board = _Board(level)
    if board.lost(level.boxes):
        return None
    start: _State = (level.player, level.boxes)
    moves, came, closed = {start: 0}, dict[_State, _Push](), set[_State]()
    serial = count()
    queue = [(board.least(level.boxes), next(serial), start)]
    while queue and len(closed) < max_states:
        state = heappop(queue)[2]
        if state[1] == board.targets:
            return board.actions(state, came)
        if state in closed:
            continue
        closed.add(state)
        for after, cost, push in board.pushes(state):
            total = moves[state] + cost
            if total < moves.get(after, total + 1):
                moves[after], came[after] = total, push
                heappush(queue, (total + board.least(after[1]), -next(serial), after))
    return None


class _Board:
    """What stays of a level, and what can be pushed on it."""

    def __init__(self, level: Level) -> None:
        self._width = level.walls.shape[1]
        self._steps = steps_of(self._width)
        self._floor = frozenset(int(square) for square in np.flatnonzero(~level.walls))
        self.targets = frozenset(int(square) for square in np.flatnonzero(level.targets))
        self._needed = pushes_needed(self.targets, self._floor, self._width)

    def lost(self, boxes: frozenset[int]) -> bool:
        """Whether a box is where it can never be pushed to a target from."""
        return not boxes <= self._needed.keys()

    def least(self, boxes: frozenset[int]) -> int:
        """Pushes that are needed at least, were there no other boxes."""
        return sum(self._needed[box] for box in boxes)

    def pushes(self, state: _State) -> Iterator[tuple[_State, int, _Push]]:
        """All pushes from a state: the state after, the moves they take, and how."""
        player, boxes = state
        free = self._floor - boxes
        walk = distances(player, free, self._width)
        for box in boxes:
            for step in self._steps:
                end = box + step
                if box - step in walk and end in free and end in self._needed:
                    after = (box, boxes - {box} | {end})
                    yield after, walk[box - step] + 1, (state, box, step)

    def actions(self, state: _State, came: dict[_State, _Push]) -> list[int]:
        """The moves from the start to a state."""
        found: list[int] = []  # backwards
        while state in came:
            (player, boxes), box, step = came[state]
            found.append(self._steps.index(step))
            found += self._walk(player, box - step, self._floor - boxes)
            state = came[state][0]
        return found[::-1]

    def _walk(self, start: int, end: int, free: frozenset[int]) -> Iterator[int]:
        """The moves of a shortest walk, the last first."""
        away = distances(start, free, self._width)
        while end != start:
            step = next(s for s in self._steps if away.get(end - s, -1) == away[end] - 1)
            yield self._steps.index(step)
            end -= step
