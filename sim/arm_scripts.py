"""A scripted pick and place that knows where things are: it shows that the task can be solved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_client.robots.bins import Cell
from robot_client.robots.pick_place import GRIP, LIFT, OPEN, STEPS
from sim.arm import SimPickPlace
from sim.bins import inside

CLEAR = 2  # cells along x, between fingers that move along y and the thing that they shall not push
MISSES = 0.2  # share of random steps, which free what is stuck


class Carrier:
    """Chooses the actions that carry the nearest thing to the other bin, again and again.

    It comes to a thing along x, so that this passes between the fingers.

    Args:
        robot: connected and reset; only looked at.
        seed: of the random steps.
    """

    def __init__(self, robot: SimPickPlace, seed: int = 0) -> None:
        self._robot, self._rng = robot, np.random.default_rng(seed)

    def action(self) -> NDArray[np.int64]:
        """() int64: what to do now."""
        return np.asarray(self._choose(), np.int64)

    def _choose(self) -> int:
        world, layout = self._robot.arm.world, self._robot.layout
        x, y, z = (float(part) for part in world.tool()[0])
        side = layout.side(x, y) or "left"
        hovers = z > (layout.low + layout.hover) / 2
        if self._robot.observe().info["holding"]:
            return (3 if side == "left" else 2) if hovers else LIFT
        if hovers:
            return LIFT
        if world.opening() <= OPEN:
            return GRIP
        found = [at for at in world.positions() if inside(layout, *at) == side]
        if not found or self._rng.random() < MISSES:
            return int(self._rng.integers(len(STEPS)))
        nearest = min(found, key=lambda at: float(np.hypot(at[0] - x, at[1] - y)))
        goal = layout.nearest(side, float(nearest[0]), float(nearest[1]), inner=False)
        here = layout.nearest(side, x, y, inner=False)
        return self._approach((goal[0] - here[0], goal[1] - here[1]), here)

    def _approach(self, way: Cell, here: Cell) -> int:
        """Along x out of the way, along y, then along x."""
        if way == (0, 0):
            return GRIP
        if way[1] == 0:
            return 0 if way[0] > 0 else 1
        if abs(way[0]) >= CLEAR:
            return 2 if way[1] > 0 else 3
        return 1 if here[0] + way[0] >= CLEAR and way[0] >= 0 else 0
