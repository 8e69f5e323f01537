"""Which robots are there, wait to be let in, have said goodbye, or went silent without a word."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from robot_client.clock import Clock
from robot_client.messages import GOODBYE, Event, Heartbeat, Hello
from robot_client.schema import Json
from server.admission import LIVE
from server.errors import Conflict
from server.fleet import Fleet
from server.journal import Journal
from server.roster import Roster
from server.sessions import LOST_S
from server.storage import Experiment, Robot

# What the tables keep of a robot: `here` until it says goodbye or is missed. Who is missed by no
# running experiment has `left`.
Presence = Literal["here", "waiting", "silent", "left"]
RobotState = Literal["connected", "waiting", "silent", "offline"]

_LOOK_S: Final = 1.0
_RETURN_S: Final = 10.0  # for robots to find a server that has started again
_PATIENT_S: Final = 35.0  # a robot that was refused says hello again within half a minute


@dataclass
class _Waiting:
    """Why a robot was refused, and when the last time (seconds since 1970)."""

    reason: str
    at: float


class Attendance:
    """Tells an operator, once each, of robots that go silent, come back, or wait.

    Args:
        roster: the robots.
        journal: for the operator.
        experiments: by id.
        clock: tells the time.
    """

    def __init__(
        self, roster: Roster, journal: Journal, experiments: Mapping[str, Experiment], clock: Clock
    ) -> None:
        self._roster, self._journal, self._clock = roster, journal, clock
        self._experiments = experiments
        self._waiting: dict[str, _Waiting] = {}
        self._missing: set[str] = set()
        self._fleet: Fleet | None = None
        self._task: asyncio.Task[None] | None = None
        self._opened = clock.wall()

    def open(self, fleet: Fleet) -> None:
        """Begin to look for robots that are missing."""
        self._fleet, self._opened = fleet, self._clock.wall()
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def came(self, robot: str) -> None:
        """A robot has been welcomed."""
        self._waiting.pop(robot, None)
        if self._roster.get(robot).presence == "silent":
            where = self._roster.get(robot).experiment
            self._journal.note("robot_back", f"robot {robot} is back", where, robot)
        self._roster.mark(robot, "here")

    def refused(
        self, robot: str, hello: Hello, observation: Json, action: Json, reason: str
    ) -> None:
        """No experiment takes a robot, for now."""
        if robot in self._connected():
            return  # another of this name is at work
        before = self._waiting.get(robot)
        self._waiting[robot] = _Waiting(reason, self._clock.wall())
        self._roster.met(hello, robot, observation, action)
        self._roster.mark(robot, "waiting")
        if before is None or before.reason != reason:
            self._journal.note("robot_waits", f"robot {robot} waits: {reason}", None, robot)

    def heard(self, robot: str, heartbeat: Heartbeat) -> None:
        """A robot is alive."""
        self._roster.heard(robot, heartbeat.policy_version)
        if self._roster.presence(robot) == "silent":  # its connection has outlived the silence
            self.came(robot)

    def said(self, robot: str, event: Event) -> None:
        """A robot has something to say: perhaps goodbye."""
        if event.kind == GOODBYE:
            self._roster.mark(robot, "left")

    async def forget(self, robot: str) -> None:
        """A robot that is away is no longer known, until it says hello; what it has done stays.

        Raises:
            NotFound: no robot of that name has ever said hello.
            Conflict: it is there, or the only one that tells an experiment its task.
        """
        known = self._roster.get(robot)
        state, _ = self.state(known, robot in self._connected())
        if state in ("connected", "waiting"):
            raise Conflict(f"robot {robot} is {state}; end its program first, or it comes back")
        others = {r.experiment for r in self._roster.all() if r.name != robot}
        if known.experiment is not None and known.experiment not in others:
            raise Conflict(
                f"robot {robot} alone has told experiment {known.experiment} its task; delete that "
                "first, or let another robot join it"
            )
        self._waiting.pop(robot, None)
        await self._roster.remove(robot)
        self._journal.note("robot_removed", f"robot {robot} is removed from the list", None, robot)

    def state(self, robot: Robot, connected: bool) -> tuple[RobotState, str | None]:
        """How a robot is, and why it waits if it does."""
        if connected:
            return "connected", None
        waiting = self._waiting.get(robot.name)
        if waiting is not None and self._clock.wall() - waiting.at < _PATIENT_S:
            return "waiting", waiting.reason
        silent = robot.presence == "silent" and self._is_missed(robot)
        return ("silent" if silent else "offline"), None

    def look(self) -> None:
        """Note who has been missing at two looks in a row: one may come before what has arrived."""
        now, there = self._clock.wall(), self._connected()
        missing = {
            robot.name
            for robot in self._roster.all()
            if robot.presence == "here"
            and robot.name not in there
            and now - max(robot.seen_at, self._opened + _RETURN_S) >= LOST_S
        }
        for name in sorted(missing & self._missing):
            self._gone(self._roster.get(name))
        self._missing = missing

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            self.look()

    def _gone(self, robot: Robot) -> None:
        missed = self._is_missed(robot)
        self._roster.mark(robot.name, "silent" if missed else "left")
        if missed:
            text = f"robot {robot.name} went silent: not heard of for {LOST_S:g} s, and no goodbye"
            self._journal.note("robot_silent", text, robot.experiment, robot.name)

    def _is_missed(self, robot: Robot) -> bool:
        """Whether it has work to do."""
        experiment = self._experiments.get(robot.experiment or "")
        return experiment is not None and experiment.state in LIVE

    def _connected(self) -> set[str]:
        return {session.robot for session in self._fleet.sessions()} if self._fleet else set()
