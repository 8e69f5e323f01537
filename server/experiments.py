"""What an operator does to experiments, and what robots and learners do to them in turn.

`server.states` says what leads from which state to which. A learner that dies is restarted and the
experiment stays `running`; its learner's status says why it died. All methods run on the event
loop; writes go to the database through `Writer`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from robot_client.clock import Clock, SystemClock
from robot_client.errors import DreamfleetError
from robot_client.messages import Event as RobotEvent
from robot_client.messages import Heartbeat, Hello, PolicyReport
from robot_client.messages import Verb as RobotVerb
from robot_client.schema import Chunk, Json
from server import checkpoint_files
from server.admission import (
    LIVE,
    STILL,
    leaves,
    place_for,
    refuse_busy_robots,
    refuse_taken_robots,
    spaces_of,
)
from server.attendance import Attendance
from server.compression import begin
from server.datasets.demonstrations import refuse_changed
from server.episodes import EpisodeBook, kind_of, told
from server.errors import Conflict, NotFound
from server.evaluation.overseer import Overseer
from server.feed import Feed
from server.fleet import Fleet
from server.human_share import HumanShare
from server.journal import Journal
from server.launches import Launches
from server.learner_news import LearnerNews
from server.lifeline import Absence
from server.marks import Marks
from server.new_experiment import (
    ConfigChecker,
    ExperimentChange,
    NewExperiment,
    copy_of,
    new_id,
    new_row,
)
from server.recovery import rows_in
from server.removal import Removal
from server.robot_orders import tell_all
from server.rollout import Rollout
from server.roster import Roster
from server.settings import Settings
from server.states import DELETABLE, RESTORABLE, TRANSITIONS, State, Verb, allowed
from server.storage import Experiment, Robot, Storage, Writer
from server.supervisor import Command, Patience, Status, Supervisor, learner_command


class Experiments:
    """The experiments of this server; the gateway's directory and the supervisor's listener.

    Args:
        settings: where the data is.
        storage, writer: the database.
        checker: knows the agents.
        command, patience: how learners are started and waited for.
        clock: tells the time.
    """

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        writer: Writer,
        checker: ConfigChecker,
        command: Command = learner_command,
        patience: Patience | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._settings, self._checker = settings, checker
        self._storage, self._writer = storage, writer
        self._clock = clock or SystemClock()
        self.feed = Feed()
        self.journal = Journal(writer, self.feed, self._clock)
        self.rollout = Rollout(settings.experiment_dir, storage, writer, self.journal, self._clock)
        self.roster = Roster(storage, writer, self._clock)
        self.marks = Marks(storage, writer, self.journal)
        self._news = LearnerNews(writer, self.journal, self.feed, self.rollout, self._clock)
        self._removal = Removal(settings, storage)
        patience = patience or Patience(silence=settings.learner_silence_s)
        self._supervisor = Supervisor(self, command, patience, clock)
        self._launches = Launches(self._supervisor, self.roster, settings.experiment_dir)
        self._fleet: Fleet | None = None
        self._book = EpisodeBook()
        self._known: dict[str, Experiment] = {}
        parts = (storage, writer, self.rollout, self.roster, self.journal, self._clock)
        self.overseer = Overseer(settings.experiment_dir, self._known, *parts)
        self.attendance = Attendance(self.roster, self.journal, self._known, self._clock)
        self._locks: dict[str, asyncio.Lock] = {}
        self._moving: set[str] = set()  # robots on their way to another experiment

    async def load(self) -> None:
        """Read what is stored. Comes before any robot is admitted."""
        await asyncio.to_thread(self._removal.recover)
        for experiment in await asyncio.to_thread(self._storage.experiments):
            stored = await asyncio.to_thread(rows_in, self._home(experiment))
            experiment.rows = experiment.rows if stored is None else stored
            self._know(experiment)
            await self._recall_updates(experiment)
            await asyncio.to_thread(self._news.load, self._storage, experiment.id)
        await self.roster.load()
        await self.rollout.load()
        await self.overseer.load()

    async def open(self, fleet: Fleet) -> None:
        """Offer the latest policies and go on with what was running."""
        self._fleet = fleet
        for experiment in self.all():
            await self.rollout.open(fleet, experiment.id)
            if experiment.state == "running":
                await self._launches.launch(experiment)
        await self.overseer.open(fleet)
        self.attendance.open(fleet)

    def tell_absence(self, away: Absence) -> None:
        """Note that no server was there: for those whom it concerned, or for all if it was none."""
        concerned: list[str | None] = [e.id for e in self.all() if e.state in LIVE]
        for experiment in concerned or [None]:
            self.journal.note("server_away", str(away), experiment)

    async def close(self) -> None:
        """Let every learner checkpoint and end. What was running will go on after a restart."""
        await self.attendance.close()
        await self.overseer.close()
        self._launches.close()
        await self._supervisor.close()

    # What an operator does.

    async def create(self, new: NewExperiment) -> Experiment:
        """Create an experiment. Raises Invalid when something of it is wrong."""
        config = await self._checker.check(new.agent, new.preset, dict(new.config))
        house = (self._settings, self._storage, self._known)
        begun = await begin(*house, name := new_id(), new, config)
        experiment = new_row(name, new, config, begun, self._clock.wall())
        self._writer.put(experiment)
        await self._writer.flush()
        self._know(experiment)
        await self.rollout.open(self._reach(), experiment.id)
        self._tell(experiment)
        return experiment

    async def duplicate(self, experiment_id: str) -> Experiment:
        """A new experiment with the same settings, notes and demonstrations, and no other data.

        Raises NotFound, or Conflict when a dataset that it began with is no longer there.
        """
        old = self.get(experiment_id)
        await refuse_changed(self._settings, old.demonstrations)
        return await self.create(copy_of(old))

    async def edit(self, experiment_id: str, change: ExperimentChange) -> Experiment:
        """Change name or notes. Raises NotFound."""
        async with self._lock(experiment_id):
            experiment = self.get(experiment_id)
            change.apply(experiment)
            await self._save(experiment)
        return experiment

    async def delete(self, experiment_id: str) -> None:
        """Remove an experiment with its rows, policies and checkpoints.

        Raises:
            NotFound: there is no such experiment.
            Conflict: it is running or paused, or a robot has rows to deliver or still moves.
        """
        async with self._lock(experiment_id):
            experiment = self.get(experiment_id)
            if experiment.state not in DELETABLE:
                raise Conflict(f"cannot delete a {experiment.state} experiment; stop it first")
            await self._supervisor.stop(experiment_id)
            await self._writer.flush()
            refuse_busy_robots(self._reach().sessions(), experiment_id)
            self._reach().forget(experiment_id)
            del self._known[experiment_id]
            for part in (self.roster, self.overseer, self.rollout, self._news):
                part.forget(experiment_id)
            await self._writer.flush()
            await asyncio.to_thread(self._removal.remove, experiment_id)
        self.feed.publish("experiment", experiment_id, {"id": experiment_id, "state": "deleted"})

    async def restore(self, experiment_id: str, number: int) -> None:
        """Let the next learner go on from this checkpoint.

        Raises:
            NotFound: there is no such experiment or checkpoint.
            Conflict: a learner may be at work.
        """
        async with self._lock(experiment_id):
            experiment = self.get(experiment_id)
            if experiment.state not in RESTORABLE:
                raise Conflict(f"cannot restore in a {experiment.state} experiment; stop it first")
            await self._supervisor.stop(experiment_id)
            await asyncio.to_thread(checkpoint_files.restore, self._home(experiment), number)
            await self._recall_updates(experiment)
            self.journal.note("checkpoint_restored", f"checkpoint {number}", experiment_id)

    async def assign(self, robot: str, experiment_id: str | None) -> Robot:
        """Let a robot join this experiment only, and move there as soon as it stands still; None:
        any experiment that has a place. Raises NotFound.
        """
        self.roster.get(robot)
        if experiment_id is None:
            found = await self.roster.assign(robot, None)
        else:
            async with self._lock(experiment_id):
                await self._make_room(self.get(experiment_id), robot)
                found = await self.roster.assign(robot, experiment_id)
        self._let_move()
        return found

    def all(self) -> list[Experiment]:
        """Every experiment, oldest first."""
        return sorted(self._known.values(), key=lambda e: (e.created_at, e.id))

    def get(self, experiment: str) -> Experiment:
        """Raises NotFound."""
        if experiment not in self._known:
            raise NotFound(f"no experiment {experiment!r}")
        return self._known[experiment]

    def learner(self, experiment: str) -> Status:
        """How the experiment's learner is."""
        return self._supervisor.status(experiment)

    def policy_version(self, experiment: str) -> int | None:
        """The version of its latest policy."""
        return self.rollout.newest(experiment)

    def latest_metrics(self, experiment: str) -> dict[str, float]:
        """The newest value of every metric that its learner has reported."""
        return self._news.latest(experiment)

    @property
    def humans(self) -> Mapping[tuple[str, str], HumanShare]:
        """(experiment, robot) -> what people did of the rows stored since the server's start."""
        return self._book.humans

    def allowed(self, experiment: Experiment) -> list[Verb]:
        """What can be done to the experiment now."""
        return allowed(experiment.state)

    async def change(self, experiment_id: str, verb: Verb) -> Experiment:
        """Start, pause, resume or stop. Doing what is done already is fine.

        Raises:
            NotFound: there is no such experiment.
            Conflict: its state does not allow it, or another experiment has its robots.
        """
        async with self._lock(experiment_id):
            experiment = self.get(experiment_id)  # while this waited, it may have been deleted
            sources, target, _ = TRANSITIONS[verb]
            if experiment.state == target:
                return experiment
            if experiment.state not in sources:
                may = ", ".join(self.allowed(experiment))
                raise Conflict(f"cannot {verb} a {experiment.state} experiment; allowed: {may}")
            if verb == "start":
                refuse_taken_robots(self.all(), experiment)
            await getattr(self, f"_{verb}")(experiment)
            await self._enter(experiment, target)
            if target == "running":
                self._let_move()
        return experiment

    # What robots do: the gateway's directory.

    def admit(self, robot: str, hello: Hello) -> str:
        """The experiment that the robot joins.

        Raises:
            SchemaError: its spaces are not those that the experiment began with.
            Conflict: no experiment has a place for it now.
        """
        spaces = spaces_of(hello)
        try:
            experiment = place_for(self.all(), robot, *spaces, self.roster.assigned(robot))
        except DreamfleetError as error:
            self.attendance.refused(robot, hello, *spaces, str(error))
            raise
        if first := experiment.observation_space is None:
            experiment.observation_space, experiment.action_space = spaces
            self._writer.put(experiment)
        self.roster.greet(hello, robot, *spaces, experiment.id)
        if first and experiment.state == "running":
            self._launches.launch_soon(experiment, self._lock(experiment.id))
        return experiment.id

    def stored(self, robot: str, experiment_id: str, chunk: Chunk) -> None:
        """A chunk is durable."""
        experiment = self._known.get(experiment_id)
        if experiment is None:  # deleted since
            return
        experiment.rows += chunk.rows
        self._writer.put(experiment)
        now, space = self._clock.wall(), experiment.action_space
        episode = self._book.add(robot, experiment_id, chunk, now, space)
        if episode is not None:
            self.overseer.finished(episode)
            self._writer.put(episode)
            self.feed.publish("episode", experiment_id, told(episode, experiment.rows))

    def learner_state(self, experiment_id: str) -> str:
        """For a robot's heartbeat: none, starting, running, paused, frozen or failed."""
        state = self._supervisor.status(experiment_id).state
        if state == "none" and self._known[experiment_id].state == "running":
            return "starting"
        return "failed" if state == "restarting" else state

    def policy_reported(self, robot: str, report: PolicyReport) -> None:
        """A robot has swapped a policy in, or refused it: one of its cache may be a stranger's."""
        if report.error:
            text = f"refused version {report.version}: {report.error}"
            experiment = report.experiment if report.experiment in self._known else None
            self.journal.note("policy_refused", text, experiment, robot)
            self.overseer.refused(robot, report)

    def event(self, robot: str, experiment: str, event: RobotEvent) -> None:
        """A robot has something to say to an operator."""
        self.journal.note(kind_of(event), event.text, experiment, robot)
        self._book.event(robot, experiment, event)
        self.attendance.said(robot, event)

    def heartbeat(self, robot: str, experiment: str, heartbeat: Heartbeat) -> None:
        """A robot is alive. When its place is elsewhere, it moves.

        It must stand still and have delivered its rows: a new epoch begins there.
        """
        self.attendance.heard(robot, heartbeat)
        self.overseer.heard(robot, experiment, heartbeat)
        if heartbeat.backlog_rows or heartbeat.safety not in STILL:
            return
        if self._moves(robot, experiment):
            self._moving.add(robot)
            self._reach().let_go(robot)

    def joined(self, robot: str, experiment: str) -> None:
        """A robot has been welcomed: tell it what its experiment was told before it came."""
        self.attendance.came(robot)
        moved = robot in self._moving
        self._moving.discard(robot)
        if self._known[experiment].state == "paused":
            self._reach().command(robot, "pause")
        elif moved:  # it had been paused, so that it could move
            self._reach().command(robot, "resume")

    # What learners do: the supervisor's listener.

    def learner_said(self, experiment: str, event: Json) -> None:
        """Keep a learner's metrics and reports; hand its policies to the robots."""
        if experiment in self._known:
            self._news.take(experiment, event)

    def learner_died(self, experiment_id: str, reason: str, final: bool) -> None:
        """Note why; the experiment has failed if a restart cannot help."""
        self.journal.note("learner_failed", reason, experiment_id)
        if final:
            experiment = self._known[experiment_id]
            experiment.state, experiment.reason = "failed", reason
            experiment.updated_at = self._clock.wall()
            self._writer.put(experiment)
            self._tell(experiment)

    async def _start(self, experiment: Experiment) -> None:
        await self._launches.launch(experiment)
        self._command_robots(experiment.id, "resume")

    async def _pause(self, experiment: Experiment) -> None:
        self._supervisor.pause(experiment.id)
        self._command_robots(experiment.id, "pause")

    async def _resume(self, experiment: Experiment) -> None:
        self._supervisor.resume(experiment.id)
        await self._start(experiment)

    async def _stop(self, experiment: Experiment) -> None:
        # Where those that are away join next, they are to go on, as those that move from here.
        self._moving |= self._command_robots(experiment.id, "pause")
        await self._supervisor.stop(experiment.id)

    def _lock(self, experiment: str) -> asyncio.Lock:
        """Held while an experiment is changed. Raises NotFound."""
        self.get(experiment)
        return self._locks[experiment]

    async def _make_room(self, experiment: Experiment, robot: str) -> None:
        if experiment.robots and robot not in experiment.robots:
            experiment.robots = [*experiment.robots, robot]
            await self._save(experiment)

    async def _enter(self, experiment: Experiment, state: State) -> None:
        experiment.state, experiment.reason = state, ""
        await self._save(experiment)

    async def _save(self, experiment: Experiment) -> None:
        experiment.updated_at = self._clock.wall()
        self._writer.put(experiment)
        await self._writer.flush()
        self._tell(experiment)

    def _tell(self, experiment: Experiment) -> None:
        about = {name: getattr(experiment, name) for name in ("id", "name", "state", "reason")}
        self.feed.publish("experiment", experiment.id, about)

    async def _recall_updates(self, experiment: Experiment) -> None:
        updates = await asyncio.to_thread(checkpoint_files.newest, self._home(experiment))
        self._supervisor.recall(experiment.id, updates)

    def _home(self, experiment: Experiment) -> Path:
        return self._settings.experiment_dir(experiment.id)

    def _know(self, experiment: Experiment) -> None:
        self._known[experiment.id] = experiment
        self._locks[experiment.id] = asyncio.Lock()

    def _command_robots(self, experiment: str, verb: RobotVerb) -> set[str]:
        return tell_all(self._reach(), self.roster, experiment, verb)

    def _let_move(self) -> None:
        """Pause the robots whose place is elsewhere, so that they move."""
        for session in self._reach().sessions():
            if self._moves(session.robot, session.experiment):
                self._reach().command(session.robot, "pause")

    def _moves(self, robot: str, experiment: str) -> bool:
        """Whether a robot of the experiment is to leave it for another."""
        return leaves(self.all(), self.roster.get(robot), self._known[experiment])

    def _reach(self) -> Fleet:
        assert self._fleet is not None, "open() comes first"
        return self._fleet
