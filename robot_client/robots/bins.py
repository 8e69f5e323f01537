"""Where an arm that picks and places may be: two bins side by side, a grid of cells, two heights.

Lengths are metres in the frame of the arm's base: x away from it, y to its left, z up. The `left`
bin is the one of greater y. A cell is a pair of whole numbers, (0, 0) at the least x and y of its
bin. The tool is low among the objects, or hovers above the walls of the bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robot_client.errors import RobotError, SchemaError

Side = Literal["left", "right"]
Cell = tuple[int, int]
Point = tuple[float, float, float]

CELL = 0.04  # m, between neighbouring cells (DayDreamer's grid)
TOLERANCE = 0.005  # m: nearer than this is there


@dataclass(frozen=True)
class Bin:
    """The cells of one bin.

    Args:
        x, y: of cell (0, 0) (m).
        columns, rows: number of cells along x and along y.
    """

    x: float
    y: float
    columns: int
    rows: int


@dataclass(frozen=True)
class Layout:
    """Both bins and the heights; what a driver and its twin share.

    Low, the tool may be over every cell of a bin (the outer limits). Hovering, or on its way up or
    down, it keeps `margin` cells away from the edge (the inner limits).

    Args:
        left, right: the bins; the left one begins where the right one has ended, or later.
        low, hover: heights of the tool (m).
        margin: cells between the outer and the inner limits.
        cell: distance between neighbouring cells (m).

    Raises:
        SchemaError: the bins overlap, a bin has no inner cell, or hovering is not above low.
    """

    left: Bin
    right: Bin
    low: float
    hover: float
    margin: int = 1
    cell: float = CELL

    def __post_init__(self) -> None:
        if not self.low < self.hover:
            raise SchemaError("layout.hover", f"above low, {self.low}", self.hover)
        if self.margin < 0 or self.cell <= 0:
            raise SchemaError("layout.margin, cell", ">= 0 and > 0", (self.margin, self.cell))
        for side in ("left", "right"):
            sides = self.region(side).columns, self.region(side).rows
            if min(sides) <= 2 * self.margin:
                raise SchemaError(f"layout.{side}", f"over {2 * self.margin} cells wide", sides)
        end = self.right.y + self.right.rows * self.cell
        if self.left.y < end - TOLERANCE:
            raise SchemaError("layout.left.y", f"{end} or more", self.left.y)

    def region(self, side: Side) -> Bin:
        """The bin on this side."""
        return self.left if side == "left" else self.right

    def point(self, side: Side, cell: Cell, z: float) -> Point:
        """Where the tool is over the middle of a cell at a height."""
        region = self.region(side)
        return (region.x + cell[0] * self.cell, region.y + cell[1] * self.cell, z)

    def cells(self, side: Side, inner: bool) -> list[Cell]:
        """Every cell within the outer or the inner limits."""
        region, edge = self.region(side), self.margin if inner else 0
        return [
            (column, row)
            for column in range(edge, region.columns - edge)
            for row in range(edge, region.rows - edge)
        ]

    def nearest(self, side: Side, x: float, y: float, inner: bool) -> Cell:
        """The cell whose middle is nearest to a point."""

        def distance(cell: Cell) -> float:
            at = self.point(side, cell, 0.0)
            return (at[0] - x) ** 2 + (at[1] - y) ** 2

        return min(self.cells(side, inner), key=distance)

    def limits(self, side: Side, inner: bool) -> NDArray[np.float64]:
        """(2, 2): least x and y, greatest x and y."""
        cells = self.cells(side, inner)
        return np.array([self.point(side, cell, 0.0)[:2] for cell in (cells[0], cells[-1])])

    def side(self, x: float, y: float) -> Side | None:
        """The bin within whose outer limits a point lies."""
        if self._within("left", (x, y), inner=False):
            return "left"
        return "right" if self._within("right", (x, y), inner=False) else None

    def check(self, start: Point, goal: Point) -> None:
        """Whether the straight way from one point to another is safe.

        Low within the outer limits of a bin, and at any other height within the inner ones of both
        its ends. From bin to bin only hovering. Never under low or above hover.

        Raises:
            RobotError: the way leaves these limits; it says where.
        """
        way = f"move from {_written(start)} to {_written(goal)}"
        if not np.isfinite([*start, *goal]).all():
            raise RobotError(f"{way}: expected finite numbers")
        for point in (start, goal):
            if not self.low - TOLERANCE <= point[2] <= self.hover + TOLERANCE:
                raise RobotError(f"{way}: expected a height of {self.low} to {self.hover} m")
        sides = [self.side(x, y) for x, y, _ in (start, goal)]
        if None in sides:
            raise RobotError(f"{way}: expected two points within the outer limits of the bins")
        lifted = [point[2] > self.low + TOLERANCE for point in (start, goal)]
        ends = zip(sides, (start, goal), strict=True)
        if any(lifted) and not all(s and self._within(s, p[:2], inner=True) for s, p in ends):
            raise RobotError(f"{way}: expected the inner limits of the bins above {self.low} m")
        if sides[0] != sides[1] and min(start[2], goal[2]) < self.hover - TOLERANCE:
            raise RobotError(f"{way}: expected {self.hover} m of height between the bins")

    def _within(self, side: Side, point: tuple[float, float], inner: bool) -> bool:
        low, high = self.limits(side, inner)
        at = np.asarray(point)
        return bool((at >= low - TOLERANCE).all() and (at <= high + TOLERANCE).all())


def other(side: Side) -> Side:
    """The side across."""
    return "right" if side == "left" else "left"


def _written(point: Point) -> str:
    return "(" + ", ".join(f"{number:.3f}" for number in point) + ")"
