"""The two bins in PyBullet: flat floors, low slopes along the walls, and one wall between them."""

from __future__ import annotations

import math

from robot_client.robots.bins import Layout, Side
from sim.engine import Engine, box

FLAT = 0.02  # m of flat floor beyond the outermost cells
SLOPE = 0.085  # m of slope beyond that, which rolls things back: a ball fits beside a finger
RISE = 0.02  # m of the slope: lower than the tips of the fingers
WALL_HEIGHT = 0.08  # m
WALL = 0.005  # m, half the thickness of a wall
THIN = 0.002  # m, half the thickness of a slope
DEEP = 0.1  # m, half the thickness of a floor: a finger could press a ball through a thin one
SMOOTH = 0.1  # friction of the slopes: nothing comes to rest on them

EDGE = FLAT + SLOPE + WALL  # from the outermost cell to the middle of the wall
TABLE_COLOUR = (0.35, 0.33, 0.32, 1.0)
WALL_COLOUR = (0.85, 0.85, 0.82, 1.0)
COLOURS = {"left": (0.25, 0.38, 0.62, 1.0), "right": (0.3, 0.52, 0.34, 1.0)}


def build_bins(world: Engine, layout: Layout) -> None:
    """Both bins on a table; their floors are at height 0."""
    box(world, (0.6, 0.6, 0.05), (0.5, 0.0, -0.06), TABLE_COLOUR)
    for side in ("left", "right"):
        _build_bin(world, layout, side)


def inside(layout: Layout, x: float, y: float, z: float) -> Side | None:
    """The bin in which a thing at a point lies."""
    for side in ("left", "right"):
        low, high = layout.limits(side, inner=False)
        if all(low - EDGE < (x, y)) and all((x, y) < high + EDGE) and z > 0:
            return side
    return None


def _build_bin(world: Engine, layout: Layout, side: Side) -> None:
    low, high = layout.limits(side, inner=False)
    (x, y), (half_x, half_y) = (low + high) / 2, (high - low) / 2 + EDGE
    colour = COLOURS[side]
    box(world, (half_x, half_y, DEEP), (x, y, -DEEP), colour)
    tall = WALL_HEIGHT / 2
    shade = (*(0.7 * part for part in colour[:3]), 1.0)
    for sign in (-1, 1):
        box(world, (WALL, half_y + WALL, tall), (x + sign * half_x, y, tall), WALL_COLOUR)
        box(world, (half_x + WALL, WALL, tall), (x, y + sign * half_y, tall), WALL_COLOUR)
        middle = EDGE - FLAT - SLOPE / 2
        _slope(world, half_y, (x + sign * (half_x - middle), y), (0, -sign), shade)
        _slope(world, half_x, (x, y + sign * (half_y - middle)), (sign, 0), shade)


def _slope(
    world: Engine,
    half: float,
    middle: tuple[float, float],
    axis: tuple[int, int],
    colour: tuple[float, ...],
) -> None:
    """A plank that rises towards a wall, turned about an axis through its middle."""
    angle = math.atan2(RISE, SLOPE)
    wide = SLOPE / 2 / math.cos(angle)
    size = (wide, half, THIN) if axis[1] else (half, wide, THIN)
    plank = box(world, size, (0.0, 0.0, 0.0), colour)
    turn = world.getQuaternionFromEuler([axis[0] * angle, axis[1] * angle, 0])
    world.resetBasePositionAndOrientation(plank, [*middle, RISE / 2 - THIN], turn)
    world.changeDynamics(plank, -1, lateralFriction=SMOOTH)
