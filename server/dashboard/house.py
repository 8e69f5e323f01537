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
_FAST = 1.5  # times real time: what is less may be chance
_STEADY = 20  # looks that a rate is the mean of: a slow loop turns few times between two heartbeats


@dataclass
class Trace:
    """A robot's last two minutes, a value a look, None where it said nothing."""

    loop_hz: deque[float | None] = field(default_factory=lambda: deque(maxlen=_KEPT))
    surprise: deque[float | None] = field(default_factory=lambda: deque(maxlen=_KEPT))
    # Times (s) and rows that have come since it connected.
    arrived: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_STEADY))

    def add(self, robot: RobotView, now: float) -> None:
        """Note how the robot is now."""
        known = robot.surprise is not None and robot.surprise >= 0
        self.loop_hz.append(robot.loop_hz)
        self.surprise.append(robot.surprise if known else None)
        rows = robot.session_rows or 0
        if self.arrived and rows < self.arrived[-1][1]:  # it has connected anew
            self.arrived.clear()
        self.arrived.append((now, rows))

    def steady(self, robot: RobotView) -> RobotView:
        """The robot with the mean of its last rates. A loop that stands is told at once."""
        recent = [hz for hz in list(self.loop_hz)[-_STEADY:] if hz]
        if not recent or not robot.loop_hz:
            return robot
        return robot.model_copy(update={"loop_hz": sum(recent) / len(recent)})

    @property
    def rows_per_s(self) -> float:
        """Rows that arrive in a second of real time."""
        if len(self.arrived) < 2:
            return 0.0
        (began, before), (now, rows) = self.arrived[0], self.arrived[-1]
        return (rows - before) / (now - began)

    def times_real(self, robot: RobotView) -> float | None:
        """How many times faster than real time a simulated robot's clock runs, by the rows that
        arrive; None where it does not, or delivers what had waited."""
        if not robot.loop_hz or (robot.backlog_rows or 0) > 2 * self.rows_per_s:
            return None
        times = self.rows_per_s / robot.loop_hz
        return times if times >= _FAST else None


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
        """Every robot by name, as it was at most LOOK_S ago; rates are means of some seconds."""
        now = self._clock.monotonic()
        if now - self._looked_at >= 0.9 * LOOK_S:
            self._looked_at = now
            robots = robot_views(self.service, self.service.experiments.roster.all())
            for robot in robots:
                self._traces.setdefault(robot.name, Trace()).add(robot, now)
            self._robots = [self._traces[robot.name].steady(robot) for robot in robots]
        return self._robots

    @property
    def traces(self) -> Mapping[str, Trace]:
        """The last two minutes of each robot, as far as somebody has watched."""
        return self._traces

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.wall()
