"""Evaluations: episodes without exploring, by one version, on the robots that are asked.

A version is lent to the robots, they are ordered to play, and what comes back is counted by its
tag. An episode counts when that version alone played it to its proper end; every other one is
played again. Evaluations are in the database, and go on after a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from robot_client.clock import Clock
from robot_client.messages import Evaluate, Heartbeat, PolicyReport
from server.checkpoint_files import keep_nearest, keep_only
from server.errors import Conflict, NotFound
from server.evaluation.courses import Courses
from server.evaluation.settings import Robots
from server.evaluation.shares import Shares
from server.evaluation.statistics import Estimate, estimate, estimate_of
from server.fleet import Fleet, Session
from server.journal import Journal
from server.rollout import Rollout
from server.roster import Roster
from server.storage import Episode, Evaluation, Experiment, Storage, Writer

_NONE = Evaluate(0, "", 0, 0, True)  # nothing is to be evaluated


class NewEvaluation(BaseModel):
    """What is to be evaluated, how often, and by whom."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    version: int | None = Field(
        default=None, ge=0, le=2**53, description="Of the policy; none: what robots are offered."
    )
    robots: Robots = Field(default=(), description="Who plays; none: a robot that is there.")
    episodes: int = Field(default=5, ge=1, le=1000, description="Episodes in all.")
    replay: bool = Field(default=True, description="Whether their rows are learned from.")


class Evaluations:
    """All evaluations; use on the event loop.

    Args:
        home: an experiment's directory.
        known: the experiments by id.
        storage, writer: the database.
        rollout: lends versions, and keeps the best.
        courses: remember the best.
        roster: knows the robots.
        journal: told of every end.
        clock: tells the time.
    """

    def __init__(
        self,
        home: Callable[[str], Path],
        known: Mapping[str, Experiment],
        storage: Storage,
        writer: Writer,
        rollout: Rollout,
        courses: Courses,
        roster: Roster,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._home, self._known, self._storage, self._writer = home, known, storage, writer
        self._rollout, self._courses, self._roster = rollout, courses, roster
        self._journal, self._clock = journal, clock
        self._fleet: Fleet | None = None
        self._all: dict[int, Evaluation] = {}
        self._running: dict[int, Shares] = {}
        self._last_id = 0
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read what is stored."""
        found = await asyncio.to_thread(self._storage.evaluations)
        self._all = {evaluation.id: evaluation for evaluation in found}

    async def open(self, fleet: Fleet) -> None:
        """Go on with what was running."""
        self._fleet = fleet
        for evaluation in self._all.values():
            if evaluation.state == "running":
                played = await asyncio.to_thread(self._storage.evaluation_returns, evaluation.id)
                robots = evaluation.robots
                shares = Shares(evaluation.episodes, robots, len(played), awaited=robots)
                self._running[evaluation.id] = shares

    def lent(self, experiment: str) -> dict[str, int]:
        """Which versions the running evaluations want on which robots."""
        running = [e for e in self._all.values() if e.state == "running"]
        return {r: e.version for e in running if e.experiment == experiment for r in e.robots}

    def of(self, experiment: str) -> list[Evaluation]:
        """Those of an experiment, newest first."""
        return [e for e in reversed(self._all.values()) if e.experiment == experiment]

    def get(self, experiment: str, number: int) -> Evaluation:
        """Raises NotFound."""
        found = self._all.get(number)
        if found is None or found.experiment != experiment:
            raise NotFound(f"experiment {experiment} has no evaluation {number}")
        return found

    async def returns(self, number: int) -> list[float]:
        """The returns that count, oldest first."""
        await self._writer.settle()
        found = await asyncio.to_thread(self._storage.evaluation_returns, number)
        return [episode.total_reward for episode in found]

    async def start(
        self, experiment: Experiment, wanted: NewEvaluation, scheduled: bool = False
    ) -> Evaluation:
        """Begin an evaluation.

        Raises:
            NotFound: there is no such version, or no such robot.
            Conflict: the experiment does not run, there is no policy or no robot, one of them
                plays for another evaluation, or the version has lost its files.
        """
        async with self._changing:
            if experiment.state != "running":
                raise Conflict(f"cannot evaluate in a {experiment.state} experiment; start it")
            version = wanted.version
            version = self._rollout.offered(experiment.id) if version is None else version
            if version is None:
                raise Conflict(f"experiment {experiment.id} has no policy yet")
            robots = self._players(experiment.id, wanted.robots)
            await self._rollout.lend(experiment.id, robots, version)
            made = await self._row(experiment, wanted, version, robots, scheduled)
            self._all[made.id] = made
            self._running[made.id] = Shares(made.episodes, robots)
            await self._save(made)
            return made

    async def cancel(self, experiment: str, number: int, reason: str = "by an operator") -> None:
        """End an evaluation before its time; what it has played stays. Idempotent.

        Raises NotFound.
        """
        async with self._changing:
            found = self.get(experiment, number)
            if found.state == "running":
                await self._end(found, "cancelled", reason)

    def heard(self, robot: str, experiment: str, beat: Heartbeat) -> None:
        """A robot is alive: give it what it is to play, or take back what it is not."""
        mine = self._of_robot(robot, experiment)
        playing = beat.evaluation
        if playing and (mine is None or playing != mine.id):
            self._order(robot, _NONE)
        elif mine is not None:
            delivered = not beat.backlog_rows
            now = self._clock.monotonic()
            count = self._running[mine.id].ask(robot, playing == mine.id, delivered, now)
            if count:
                order = (mine.id, mine.experiment, mine.version, count, mine.replay)
                self._order(robot, Evaluate(*order))

    def finished(self, episode: Episode) -> None:
        """An episode that was tagged as one of an evaluation has ended; it may be found unfair."""
        evaluation = self._all.get(episode.evaluation or 0)
        if evaluation is None or evaluation.experiment != episode.experiment:
            episode.fair = False
            return
        episode.fair = episode.fair and episode.policy_last == evaluation.version
        shares = self._running.get(evaluation.id)
        if episode.fair and shares is not None:
            shares.came_back(episode.robot)

    async def refused(self, robot: str, report: PolicyReport) -> None:
        """A robot cannot act with a version: it is not asked to play it any more."""
        async with self._changing:
            mine = self._of_robot(robot, report.experiment)
            if mine is None or mine.version != report.version:
                return
            shares = self._running[mine.id]
            shares.robots.discard(robot)
            shares.gone(robot)
            await self._rollout.lend(mine.experiment, [robot], None)
            if not shares.robots:
                await self._end(mine, "failed", f"refused by {robot}: {report.error}"[:500])

    async def look(self, sessions: Sequence[Session]) -> None:
        """End what is complete; give up on who is gone, and on experiments that have ended."""
        async with self._changing:
            for number, shares in list(self._running.items()):
                evaluation = self._all[number]
                experiment = self._known.get(evaluation.experiment)
                present = [s.robot for s in sessions if s.experiment == evaluation.experiment]
                shares.keep_only(present)
                if experiment is None or experiment.state not in ("running", "paused"):
                    await self._end(evaluation, "cancelled", "the experiment has ended")
                elif shares.complete:
                    await self._complete(evaluation, shares)

    def forget(self, experiment: str) -> None:
        """The experiment is gone."""
        for evaluation in self.of(experiment):
            del self._all[evaluation.id]
            self._running.pop(evaluation.id, None)

    async def _complete(self, evaluation: Evaluation, shares: Shares) -> None:
        """Count once more: episodes may have been discarded since."""
        returns = await self.returns(evaluation.id)
        shares.played = len(returns)
        found = estimate_of(returns)
        if shares.complete and found is not None:
            await self._take_best(evaluation)
            await self._end(evaluation, "done", in_words(found))

    async def _take_best(self, evaluation: Evaluation) -> None:
        """Mark and keep the version if all of its evaluations say that none did better."""
        experiment, version = evaluation.experiment, evaluation.version
        course = self._courses.of(experiment)
        found = await asyncio.to_thread(self._storage.version_returns, experiment, True)
        rivals = {v: found[v] for v in (version, course.best) if v is not None and v in found}
        bounds = {v: estimate(r.episodes, r.mean, r.squares).lower for v, r in rivals.items()}
        best = best_of(bounds, course.best)
        if best == course.best or best is None:
            return
        await self._rollout.cherish(experiment, best)
        course.best, course.checkpoint = best, evaluation.checkpoint
        await self._courses.save(course)
        self._journal.note("best_policy", f"version {best}", experiment)

    async def _end(self, evaluation: Evaluation, state: str, reason: str) -> None:
        self._running.pop(evaluation.id, None)
        evaluation.state, evaluation.reason = state, reason
        evaluation.ended_at = self._clock.wall()
        await self._rollout.lend(evaluation.experiment, evaluation.robots, None)
        for robot in evaluation.robots:
            self._order(robot, _NONE)
        await self._tidy(evaluation.experiment)
        text = f"evaluation {evaluation.id} of version {evaluation.version}: {reason}"
        self._journal.note(f"evaluation_{state}", text, evaluation.experiment)
        await self._save(evaluation)

    async def _tidy(self, experiment: str) -> None:
        """Let go of the checkpoints that no running evaluation and no best version needs."""
        needed = {self._all[number].checkpoint for number in self._running}
        needed.add(self._courses.of(experiment).checkpoint)
        numbers = {number for number in needed if number is not None}
        await asyncio.to_thread(keep_only, self._home(experiment), numbers)

    async def _row(
        self,
        experiment: Experiment,
        wanted: NewEvaluation,
        version: int,
        robots: list[str],
        scheduled: bool,
    ) -> Evaluation:
        policy = await asyncio.to_thread(self._storage.policy, experiment.id, version)
        updates = policy.updates if policy else 0
        checkpoint = await asyncio.to_thread(keep_nearest, self._home(experiment.id), updates)
        return Evaluation(
            id=self._next_id(),
            experiment=experiment.id,
            version=version,
            robots=robots,
            episodes=wanted.episodes,
            replay=wanted.replay,
            scheduled=scheduled,
            rows=experiment.rows,
            checkpoint=checkpoint,
            state="running",
            reason="",
            created_at=self._clock.wall(),
            ended_at=None,
        )

    def _next_id(self) -> int:
        """Never one of an evaluation that was removed while this server ran."""
        self._last_id = max(self._last_id, *self._all, 0) + 1
        return self._last_id

    def _players(self, experiment: str, named: Sequence[str]) -> list[str]:
        busy = {robot for n in self._running for robot in self._all[n].robots}
        for robot in named:
            self._roster.get(robot)
            if robot in busy:
                raise Conflict(f"robot {robot} plays for another evaluation; cancel it first")
        if named:
            return sorted({*named})
        sessions = self._reach().sessions()
        there = sorted(s.robot for s in sessions if s.experiment == experiment)
        free = [robot for robot in there if robot not in busy]
        if not free:
            raise Conflict(f"no robot of experiment {experiment} is there and free")
        return free[:1]

    def _of_robot(self, robot: str, experiment: str) -> Evaluation | None:
        for number, shares in self._running.items():
            if robot in shares.robots and self._all[number].experiment == experiment:
                return self._all[number]
        return None

    def _order(self, robot: str, order: Evaluate) -> None:
        self._reach().evaluate(robot, order)

    async def _save(self, evaluation: Evaluation) -> None:
        self._writer.put(evaluation)
        await self._writer.flush()
        names = ("id", "version", "state", "reason", "episodes")
        about = {name: getattr(evaluation, name) for name in names}
        self._journal.feed.publish("evaluation", evaluation.experiment, about)

    def _reach(self) -> Fleet:
        assert self._fleet is not None, "open() comes first"
        return self._fleet


def best_of(bounds: Mapping[int, float | None], before: int | None) -> int | None:
    """The version whose mean return has the highest lower bound; of equals, the one before."""
    known = {version: bound for version, bound in bounds.items() if bound is not None}
    return max(known, key=lambda v: (known[v], v == before, v), default=before)


def in_words(found: Estimate) -> str:
    """An estimate for people."""
    text = f"{found.mean:.4g} over {found.episodes} episodes"
    if found.lower is None or found.upper is None:
        return text
    return f"{text}, 95 % between {found.lower:.4g} and {found.upper:.4g}"
