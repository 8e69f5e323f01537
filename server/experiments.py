"""What an operator does to experiments, and what robots and learners do to them in turn.

    created --start--> running <--pause / resume--> paused
    any of these --stop--> stopped --start--> running
    running --learner says that a restart cannot help--> failed --start--> running

A learner that dies otherwise is restarted and the experiment stays `running`; its learner's status
says why it died. All methods run on the event loop; writes go to the database through `Writer`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from robot_client.clock import Clock, SystemClock
from robot_client.errors import DreamfleetError
from robot_client.messages import Event as RobotEvent
from robot_client.messages import Heartbeat, Hello, PolicyReport
from robot_client.messages import Verb as RobotVerb
from robot_client.schema import Chunk, Json, space_from_json, space_to_json
from server.admission import LIVE, has_place, place_for
from server.datasets.demonstrations import begin_with
from server.descriptions import write_description
from server.episodes import EpisodeBook
from server.errors import Conflict, NotFound
from server.fleet import Fleet
from server.job import LearnerSettings
from server.recovery import newest_manifest, rows_in
from server.settings import Settings
from server.storage import Event, Experiment, Metric, Policy, Report, Robot, Storage, Writer
from server.supervisor import Command, Patience, Status, Supervisor, learner_command

log = logging.getLogger(__name__)

State = Literal["created", "running", "paused", "stopped", "failed"]
Verb = Literal["start", "pause", "resume", "stop"]

_TRANSITIONS: dict[Verb, tuple[frozenset[str], State]] = {
    "start": (frozenset({"created", "stopped", "failed"}), "running"),
    "pause": (frozenset({"running"}), "paused"),
    "resume": (frozenset({"paused"}), "running"),
    "stop": (frozenset({"created", "running", "paused", "failed"}), "stopped"),
}
_STILL = ("stop", "estop")  # rungs of the ladder on which no episode is running


class NewExperiment(LearnerSettings):
    """What it takes to create an experiment."""

    name: str = Field(min_length=1, max_length=80, description="What people call it.")
    agent: str = Field(description="Name of the algorithm; GET /api/v1/agents lists them.")
    preset: str | None = Field(
        default=None, description="Named settings of the agent, to begin with; none: its defaults."
    )
    config: dict[str, Any] = Field(
        default_factory=dict, description="Further settings; the agent's JSON schema says which."
    )
    robots: tuple[str, ...] = Field(
        default=(), strict=False, description="Robots that may join; none: any robot that is free."
    )
    demonstrations: tuple[str, ...] = Field(default=(), strict=False, description="Datasets.")


class ConfigChecker(Protocol):
    """Knows the agents."""

    async def check(self, agent: str, preset: str | None, config: Json) -> Json:
        """The config with all defaults filled in. Raises Invalid on the first wrong field."""
        ...


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
        self._settings = settings
        self._storage = storage
        self._writer = writer
        self._checker = checker
        self._clock = clock or SystemClock()
        patience = patience or Patience(silence=settings.learner_silence_s)
        self._supervisor = Supervisor(self, command, patience, clock)
        self._fleet: Fleet | None = None
        self._book = EpisodeBook()
        self._known: dict[str, Experiment] = {}
        self._versions: dict[str, int] = {}
        self._latest: dict[str, dict[str, float]] = {}
        self._not_finite: dict[str, list[str]] = {}  # metrics of which an operator has been told
        self._locks: dict[str, asyncio.Lock] = {}
        self._moving: set[str] = set()  # robots on their way to another experiment
        self._launches: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Read what is stored. Comes before any robot is admitted."""
        for experiment in await asyncio.to_thread(self._storage.experiments):
            stored = await asyncio.to_thread(rows_in, self._home(experiment))
            experiment.rows = experiment.rows if stored is None else stored
            self._know(experiment)
            self._latest[experiment.id] = await asyncio.to_thread(
                self._storage.latest_metrics, experiment.id
            )

    async def open(self, fleet: Fleet) -> None:
        """Offer the latest policies and go on with what was running."""
        self._fleet = fleet
        for experiment in self.all():
            policy = await asyncio.to_thread(self._storage.latest_policy, experiment.id)
            manifest = await asyncio.to_thread(newest_manifest, self._home(experiment))
            if manifest and (policy is None or policy.version < manifest["version"]):
                self._offer(experiment.id, manifest["version"], manifest)
            elif policy is not None:
                self._versions[experiment.id] = policy.version
                fleet.publish(experiment.id, policy.manifest)
            if experiment.state == "running":
                await self._launch(experiment)

    async def close(self) -> None:
        """Let every learner checkpoint and end. What was running will go on after a restart."""
        for launch in self._launches:
            launch.cancel()
        await self._supervisor.close()

    # What an operator does.

    async def create(self, new: NewExperiment) -> Experiment:
        """Create an experiment. Raises Invalid when something of it is wrong."""
        config = await self._checker.check(new.agent, new.preset, dict(new.config))
        now, name = self._clock.wall(), secrets.token_hex(4)
        wanted = new.demonstrations, new.robots
        begun = await begin_with(self._settings, self._storage, name, *wanted)
        experiment = Experiment(
            id=name,
            name=new.name,
            agent=new.agent,
            settings=new.model_dump(include=set(LearnerSettings.model_fields)),
            config=config,
            robots=list(new.robots),
            rows=begun.rows,
            state="created",
            reason="",
            observation_space=begun.observation_space,
            action_space=begun.action_space,
            created_at=now,
            updated_at=now,
        )
        self._writer.put(experiment)
        await self._writer.flush()
        self._know(experiment)
        return experiment

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
        return self._versions.get(experiment)

    def latest_metrics(self, experiment: str) -> dict[str, float]:
        """The newest value of every metric that its learner has reported."""
        return dict(self._latest.get(experiment, {}))

    def allowed(self, experiment: Experiment) -> list[Verb]:
        """What can be done to the experiment now."""
        return [verb for verb, (states, _) in _TRANSITIONS.items() if experiment.state in states]

    async def change(self, experiment_id: str, verb: Verb) -> Experiment:
        """Start, pause, resume or stop. Doing what is done already is fine.

        Raises:
            NotFound: there is no such experiment.
            Conflict: its state does not allow it, or another experiment has its robots.
        """
        experiment = self.get(experiment_id)
        async with self._locks[experiment_id]:
            states, target = _TRANSITIONS[verb]
            if experiment.state == target:
                return experiment
            if experiment.state not in states:
                allowed = ", ".join(self.allowed(experiment))
                raise Conflict(f"cannot {verb} a {experiment.state} experiment; allowed: {allowed}")
            if verb == "start":
                self._refuse_taken_robots(experiment)
            await getattr(self, f"_{verb}")(experiment)
            await self._enter(experiment, target)
        return experiment

    # What robots do: the gateway's directory.

    def admit(self, robot: str, hello: Hello) -> str:
        """The experiment that the robot joins.

        Raises:
            SchemaError: its spaces are not those that the experiment began with.
            Conflict: no experiment has a place for it now.
        """
        observation, action = (
            space_to_json(space_from_json(space, where))
            for space, where in (
                (hello.observation_space, "observation_space"),
                (hello.action_space, "action_space"),
            )
        )
        experiment = place_for(self.all(), robot, observation, action)
        first = experiment.observation_space is None
        if first:
            experiment.observation_space, experiment.action_space = observation, action
            self._writer.put(experiment)
        self._writer.put(
            Robot(
                name=robot,
                experiment=experiment.id,
                observation_space=observation,
                action_space=action,
                control_hz=hello.control_hz,
                task=hello.task,
                client=hello.client,
                seen_at=self._clock.wall(),
            )
        )
        if first and experiment.state == "running":
            self._launch_soon(experiment)
        return experiment.id

    def stored(self, robot: str, experiment_id: str, chunk: Chunk) -> None:
        """A chunk is durable."""
        experiment = self._known[experiment_id]
        experiment.rows += chunk.rows
        self._writer.put(experiment)
        episode = self._book.add(robot, experiment_id, chunk, self._clock.wall())
        if episode is not None:
            self._writer.put(episode)

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
            self._note("policy_refused", text, experiment, robot)

    def event(self, robot: str, experiment: str, event: RobotEvent) -> None:
        """A robot has something to say to an operator."""
        self._note(event.kind, event.text, experiment, robot)

    def heartbeat(self, robot: str, experiment: str, heartbeat: Heartbeat) -> None:
        """A robot is alive. When its experiment has ended, it moves to one that has a place.

        It must stand still and have delivered its rows: a new epoch begins there.
        """
        ended = self._known[experiment]
        if ended.state in LIVE or heartbeat.backlog_rows or heartbeat.safety not in _STILL:
            return
        if has_place(self.all(), robot, ended):
            self._moving.add(robot)
            self._reach().let_go(robot)

    def joined(self, robot: str, experiment: str) -> None:
        """A robot has been welcomed: tell it what its experiment was told before it came."""
        moved = robot in self._moving
        self._moving.discard(robot)
        if self._known[experiment].state == "paused":
            self._reach().command(robot, "pause")
        elif moved:  # it had been paused, so that it could move
            self._reach().command(robot, "resume")

    # What learners do: the supervisor's listener.

    def learner_said(self, experiment: str, event: Json) -> None:
        """Keep a learner's metrics and reports; hand its policies to the robots."""
        try:
            self._take(experiment, event)
        except (KeyError, TypeError, ValueError, AttributeError, DreamfleetError) as error:
            log.warning("learner of %s: event %.200r is wrong: %r", experiment, event, error)

    def learner_died(self, experiment_id: str, reason: str, final: bool) -> None:
        """Note why; the experiment has failed if a restart cannot help."""
        self._note("learner_failed", reason, experiment_id)
        if final:
            experiment = self._known[experiment_id]
            experiment.state, experiment.reason = "failed", reason
            experiment.updated_at = self._clock.wall()
            self._writer.put(experiment)

    def _take(self, experiment: str, event: Json) -> None:
        now = self._clock.wall()
        match event["event"]:
            case "metrics":
                rows = _metrics(experiment, event)
                self._note_not_finite(experiment, event["values"])
                self._writer.put(*rows)
                self._latest.setdefault(experiment, {}).update({m.name: m.value for m in rows})
            case "policy":
                self._offer(experiment, int(event["version"]), dict(event["manifest"]))
            case "damaged":
                self._note("checkpoint_damaged", str(event["text"]), experiment)
            case "report":
                name, path = str(event["name"]), str(event["path"])
                self._writer.put(Report(experiment=experiment, name=name, path=path, time=now))

    def _offer(self, experiment: str, version: int, manifest: Json) -> None:
        """Hand a new policy to the robots, and remember it; one that cannot travel is refused."""
        updates = int(manifest.get("updates", 0))
        self._reach().publish(experiment, manifest)
        self._versions[experiment] = version
        self._writer.put(
            Policy(
                experiment=experiment,
                version=version,
                updates=updates,
                manifest=manifest,
                created_at=self._clock.wall(),
            )
        )

    def _note_not_finite(self, experiment: str, values: Json) -> None:
        """Tell, once, which metrics are no numbers any more: the learner may have diverged."""
        names = [str(name) for name, value in values.items() if not math.isfinite(value)]
        if names and names != self._not_finite.get(experiment):
            self._note("not_finite", f"not finite: {', '.join(names)}"[:1000], experiment)
        self._not_finite[experiment] = names

    async def _start(self, experiment: Experiment) -> None:
        await self._launch(experiment)
        self._command_robots(experiment.id, "resume")
        self._end_episodes_elsewhere(experiment)

    async def _pause(self, experiment: Experiment) -> None:
        self._supervisor.pause(experiment.id)
        self._command_robots(experiment.id, "pause")

    async def _resume(self, experiment: Experiment) -> None:
        self._supervisor.resume(experiment.id)
        await self._start(experiment)

    async def _stop(self, experiment: Experiment) -> None:
        self._command_robots(experiment.id, "pause")
        await self._supervisor.stop(experiment.id)

    async def _enter(self, experiment: Experiment, state: State) -> None:
        experiment.state, experiment.reason = state, ""
        experiment.updated_at = self._clock.wall()
        self._writer.put(experiment)
        await self._writer.flush()

    async def _launch(self, experiment: Experiment) -> None:
        """Start the learner, if the spaces are known: else the first robot's hello does."""
        if experiment.observation_space is None:
            return
        directory = self._home(experiment)
        await asyncio.to_thread(write_description, directory, experiment)
        self._supervisor.start(experiment.id, directory)

    def _home(self, experiment: Experiment) -> Path:
        return self._settings.experiment_dir(experiment.id)

    def _know(self, experiment: Experiment) -> None:
        self._known[experiment.id] = experiment
        self._locks[experiment.id] = asyncio.Lock()

    def _launch_soon(self, experiment: Experiment) -> None:
        task = asyncio.create_task(self._launch(experiment))
        self._launches.add(task)
        task.add_done_callback(self._launches.discard)

    def _command_robots(self, experiment: str, verb: RobotVerb) -> None:
        fleet = self._reach()
        for session in fleet.sessions():
            if session.experiment == experiment:
                fleet.command(session.robot, verb)

    def _end_episodes_elsewhere(self, experiment: Experiment) -> None:
        """Pause the robots that still act for an experiment that has ended, so that they move."""
        for session in self._reach().sessions():
            ended = self._known[session.experiment]
            free = not experiment.robots or session.robot in experiment.robots
            if free and ended is not experiment and ended.state not in LIVE:
                self._reach().command(session.robot, "pause")

    def _reach(self) -> Fleet:
        assert self._fleet is not None, "open() comes first"
        return self._fleet

    def _refuse_taken_robots(self, experiment: Experiment) -> None:
        for other in self.all():
            both = set(experiment.robots) & set(other.robots)
            if other is not experiment and other.state in LIVE and both:
                names = ", ".join(sorted(both))
                raise Conflict(f"experiment {other.id} has {names}; stop it first")

    def _note(self, kind: str, text: str, experiment: str | None, robot: str | None = None) -> None:
        now = self._clock.wall()
        self._writer.put(Event(experiment=experiment, robot=robot, kind=kind, text=text, time=now))


def _metrics(experiment: str, event: Json) -> list[Metric]:
    """The finite ones: neither SQL nor JSON has a place for the others."""
    return [
        Metric(
            experiment=experiment,
            name=str(name),
            updates=int(event["updates"]),
            rows=int(event["rows"]),
            time=float(event["time"]),
            value=float(value),
        )
        for name, value in event["values"].items()
        if math.isfinite(value)
    ]
