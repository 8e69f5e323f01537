"""Ground to walk on: a plane, or hills of random height."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pybullet_data
from numpy.typing import NDArray

from sim.engine import Engine

CELL = 0.2  # m
CELLS = 61  # heights along each side: 12 m
COLOUR = (0.45, 0.5, 0.4, 1.0)


class Ground:
    """The ground of a world, and how high it is where.

    Args:
        world: the engine; the ground is put into it, with friction 1.
        hills: height of the highest (m); 0 is a plane with a chequered pattern.
        rng: draws the hills.
    """

    def __init__(self, world: Engine, hills: float, rng: np.random.Generator) -> None:
        self._heights = np.zeros((CELLS, CELLS))
        if hills:
            self._heights = rng.uniform(0, hills, (CELLS, CELLS))
            body = _heightfield(world, self._heights)
        else:
            body = world.loadURDF(str(Path(pybullet_data.getDataPath(), "plane.urdf")))
        world.changeDynamics(body, -1, lateralFriction=1.0)

    def lowest(self, x: float, y: float, radius: float) -> float:
        """Height (m) of the lowest point within a square around (x, y), in m."""
        return float(self._around(x, y, radius).min())

    def highest(self, x: float, y: float, radius: float) -> float:
        """Height (m) of the highest point within a square around (x, y), in m."""
        return float(self._around(x, y, radius).max())

    def _around(self, x: float, y: float, radius: float) -> NDArray[np.float64]:
        edges = (np.array([x, y])[:, None] + [-radius, radius]) / CELL + (CELLS - 1) / 2
        (left, right), (front, back) = np.clip(
            [np.floor(edges[:, 0]), np.ceil(edges[:, 1])], 0, CELLS - 1
        ).T.astype(int)
        return self._heights[left : right + 1, front : back + 1]


def _heightfield(world: Engine, heights: NDArray[np.float64]) -> int:
    """Hills over the origin from heights (x, y). The engine centres them between top and bottom."""
    collision = world.createCollisionShape(
        world.GEOM_HEIGHTFIELD,
        meshScale=[CELL, CELL, 1],
        heightfieldData=heights.T.ravel().tolist(),
        numHeightfieldRows=CELLS,
        numHeightfieldColumns=CELLS,
    )
    middle = float(heights.min() + heights.max()) / 2
    body: int = world.createMultiBody(0, collision, -1, [0, 0, middle])
    world.changeVisualShape(body, -1, rgbaColor=COLOUR)
    return body
