"""What all pages of one server share."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import FastAPI

from robot_client.clock import Clock, SystemClock
from server.api.robots import robot_views
from server.api.schemas import RobotView
from server.service import Service

LOOK_S = 0.5  # between looks at the robots, however many watch
_KEPT = 240


@dataclass
class Trace:
    """A robot's last two minutes, a value a look, None where it said nothing."""

    loop_hz: deque[float | None] = field(default_factory=lambda: deque(maxlen=_KEPT))
    surprise: deque[float | None] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def add(self, robot: RobotView) -> None:
        """Note how the robot is now."""
        known = robot.surprise is not None and robot.surprise >= 0
        self.loop_hz.append(robot.loop_hz)
        self.surprise.append(robot.surprise if known else None)


class House:
    """The server behind the pages. Use on its event loop.

    Args:
        service: read from memory, so that a page costs the database little.
        rest: the application, gate included, through which pages change things.
    """

    def __init__(self, service: Service, rest: FastAPI, clock: Clock | None = None) -> None:
        self.service, self.rest = service, rest
        self._clock = clock or SystemClock()
        self._looked_at = float("-inf")
        self._robots: list[RobotView] = []
        self._traces: dict[str, Trace] = {}

    def robots(self) -> list[RobotView]:
        """Every robot by name, as it was at most LOOK_S ago."""
        now = self._clock.monotonic()
        if now - self._looked_at >= 0.9 * LOOK_S:
            self._looked_at = now
            self._robots = robot_views(self.service, self.service.experiments.roster.all())
            for robot in self._robots:
                self._traces.setdefault(robot.name, Trace()).add(robot)
        return self._robots

    @property
    def traces(self) -> Mapping[str, Trace]:
        """The last two minutes of each robot, as far as somebody has watched."""
        return self._traces

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.wall()
