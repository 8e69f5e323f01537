"""Looks after the policies of all experiments: evaluates them on schedule, and rolls them out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from sqlalchemy.exc import OperationalError

from robot_client.clock import Clock
from robot_client.messages import Heartbeat, PolicyReport
from server.errors import ServerError
from server.evaluation.autopilot import Autopilot, holds_of
from server.evaluation.courses import Courses
from server.evaluation.evaluations import Evaluations, NewEvaluation
from server.evaluation.schedule import Moment, is_due
from server.evaluation.settings import EvaluationSettings
from server.fleet import Fleet, Session
from server.journal import Journal
from server.rollout import Rollout
from server.roster import Roster
from server.storage import Episode, Experiment, Storage, Writer

log = logging.getLogger(__name__)
LOOK_S = 0.5  # between two looks at everything; an ended episode is looked at at once


class Overseer:
    """One for the server; use on the event loop.

    Args:
        home: an experiment's directory.
        known: the experiments by id.
        storage, writer: the database.
        rollout: offers and lends versions.
        roster: knows the robots.
        journal: told of what is decided.
        clock: tells the time.
    """

    def __init__(
        self,
        home: Callable[[str], Path],
        known: Mapping[str, Experiment],
        storage: Storage,
        writer: Writer,
        rollout: Rollout,
        roster: Roster,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._known, self._rollout, self._clock = known, rollout, clock
        self._journal = journal
        self.courses = Courses(storage, writer)
        parts = (storage, writer, rollout, self.courses)
        self.evaluations = Evaluations(home, known, *parts, roster, journal, clock)
        self._autopilot = Autopilot(*parts, journal)
        self._fleet: Fleet | None = None
        self._wake, self._looking = asyncio.Event(), asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._reports: list[tuple[str, PolicyReport]] = []

    async def load(self) -> None:
        """Read what is stored, so that robots are at once offered what was decided."""
        await self.courses.load()
        await self.evaluations.load()
        for experiment in self._known:
            course = self.courses.of(experiment)
            lent = self.evaluations.lent(experiment)
            self._rollout.recall(experiment, holds_of(course), lent, course.best)

    async def open(self, fleet: Fleet) -> None:
        """Go on with what was decided, and begin to look."""
        self._fleet = fleet
        await self.evaluations.open(fleet)
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Look no more, once a look that has begun is over."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    def forget(self, experiment: str) -> None:
        """The experiment is gone."""
        self.evaluations.forget(experiment)
        self.courses.forget(experiment)

    def finished(self, episode: Episode) -> None:
        """An episode has ended; it is not in the database yet."""
        if episode.evaluation is not None:
            self.evaluations.finished(episode)
        self._wake.set()

    def heard(self, robot: str, experiment: str, beat: Heartbeat) -> None:
        """A robot is alive."""
        self.evaluations.heard(robot, experiment, beat)

    def refused(self, robot: str, report: PolicyReport) -> None:
        """A robot cannot act with a version."""
        self._reports.append((robot, report))
        self._wake.set()

    async def _run(self) -> None:
        while not self._closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            self._wake.clear()
            await self.look()

    async def look(self) -> None:
        """See whether anything is to be done, once."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        try:
            while self._reports:
                await self.evaluations.refused(*self._reports.pop(0))
            assert self._fleet is not None, "open() comes first"
            sessions = list(self._fleet.sessions())
            await self.evaluations.look(sessions)
            for experiment in list(self._known.values()):
                if experiment.state == "running":
                    await self._look_at(experiment, sessions)
        except (ServerError, OperationalError, OSError):  # such as a full disk: look again
            log.exception("evaluations and roll-outs could not be looked after")

    async def _look_at(self, experiment: Experiment, sessions: list[Session]) -> None:
        robots = {s.robot for s in sessions if s.experiment == experiment.id}
        await self._autopilot.look(experiment, robots)
        settings = EvaluationSettings.model_validate(experiment.evaluation)
        version = self._rollout.offered(experiment.id)
        of_this = self.evaluations.of(experiment.id)
        idle = all(e.state != "running" for e in of_this)
        if robots and idle and version is not None:
            last = next((e for e in of_this if e.scheduled), None)
            since = (
                Moment(0, experiment.created_at, -1)
                if last is None
                else Moment(last.rows, last.created_at, last.version)
            )
            if is_due(settings, since, Moment(experiment.rows, self._clock.wall(), version)):
                await self._evaluate(experiment, settings, version, robots)

    async def _evaluate(
        self, experiment: Experiment, settings: EvaluationSettings, version: int, robots: set[str]
    ) -> None:
        players = tuple(robot for robot in settings.robots if robot in robots)
        if settings.robots and not players:
            return  # none of them is there: later
        wanted = NewEvaluation(
            version=version, robots=players, episodes=settings.episodes, replay=settings.replay
        )
        await self.evaluations.start(experiment, wanted, scheduled=True)
