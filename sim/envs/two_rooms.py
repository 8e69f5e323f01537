"""Two rooms and a corridor: several tasks that share a way, for Distral."""

from __future__ import annotations

from sim.envs.grid import Grid, Square

MAZE = """
.....###.....
.....###.....
.............
.....###.....
.....###.....
"""
GOALS: dict[str, Square] = {  # all in the right room, so that the tasks share the corridor
    "A": (0, 8),
    "B": (0, 10),
    "C": (0, 12),
    "D": (2, 10),
    "E": (2, 12),
    "F": (4, 8),
    "G": (4, 10),
    "H": (4, 12),
}
STARTS = tuple((row, column) for row in range(5) for column in range(5))  # the left room


class TwoRooms(Grid):
    """Find a goal in the other room. The goal is the task: it is not observed.

    After the grid world of Distral (Teh et al. 2017, section 4.1); sizes and rewards are our own:
    rooms of 5 x 5 squares, a corridor of 3, eight goals. A step costs 0.1, arriving pays 1 besides.
    The walker begins anywhere in the left room.

    Args:
        goal: a letter of `GOALS`.
        render_mode: `rgb_array` or None.

    Raises:
        ValueError: there is no such goal.
    """

    def __init__(self, goal: str = "A", render_mode: str | None = None) -> None:
        if goal not in GOALS:
            raise ValueError(f"goal: expected one of {sorted(GOALS)}, got {goal!r}")
        super().__init__(MAZE, STARTS, GOALS[goal], (-0.1, 1.0), render_mode)
