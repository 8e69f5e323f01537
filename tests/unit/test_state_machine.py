"""Whatever operators, robots and learners do, and in whatever order, an experiment is in a state
that the table allows, and no row is lost."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from robot_client.errors import DreamfleetError
from robot_client.messages import Heartbeat
from robot_client.schema import Chunk
from server.states import DELETABLE, TRANSITIONS
from server.supervisor import Status
from tests.unit.house import open_house
from tests.unit.replay_rows import Recorder

ROBOTS = ("ball-1", "ball-2")
PICK = st.integers(0, 3)
LIVE = ("running", "paused")


class Idle:
    """A supervisor without processes: knows which learners should be there."""

    def __init__(self, *_):
        self.started = set()

    def status(self, experiment):
        return Status("running" if experiment in self.started else "none")

    def recall(self, experiment, updates):
        pass

    def start(self, experiment, directory):
        self.started.add(experiment)

    def pause(self, experiment):
        pass

    resume = pause

    async def stop(self, experiment):
        self.started.discard(experiment)

    async def close(self):
        self.started.clear()


class Operators(RuleBasedStateMachine):
    """REST calls and events of robots, beside a model of what must come of them."""

    @initialize()
    def open(self):
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.patch = patch("server.experiments.Supervisor", Idle)
        self.patch.start()
        self.states, self.rows, self.recorders = {}, {}, {}
        self.boots = 0
        self._enter()
        for robot in ROBOTS:
            self.change(self.make((robot,)), "start")
            self.join(robot)

    def _enter(self):
        self.entered = open_house(self.folder)
        self.house = self.run(self.entered.__aenter__())

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def call(self, function, *arguments):
        """Call on the event loop, and let what it has begun go on."""

        async def act():
            found = function(*arguments)
            await asyncio.sleep(0.01)
            return found

        return self.run(act())

    def ask(self, *arguments):
        return self.run(self.house.ask(*arguments))

    def teardown(self):
        self.run(self.entered.__aexit__(None, None, None))
        self.patch.stop()
        self.loop.close()
        shutil.rmtree(self.folder)

    def chosen(self, experiment):
        """An experiment that is there, by its id or a number."""
        if experiment in self.states:
            return experiment
        return sorted(self.states)[experiment % len(self.states)] if self.states else self.make()

    def make(self, robots=()):
        made = self.run(self.house.create(robots=robots))
        self.states[made], self.rows[made] = "created", 0
        return made

    @rule(robots=st.sampled_from([(), ROBOTS[:1], ROBOTS]))
    def create(self, robots):
        self.make(robots)

    @rule(old=PICK)
    def duplicate(self, old):
        old = self.chosen(old)
        made = self.ask("POST", f"/experiments/{old}/duplicate", None, 201)["id"]
        self.states[made], self.rows[made] = "created", 0

    @rule(experiment=PICK, verb=st.sampled_from(sorted(TRANSITIONS)))
    def change(self, experiment, verb):
        experiment = self.chosen(experiment)
        sources, target, _ = TRANSITIONS[verb]
        answer = self.run(self.house.http.post(f"/experiments/{experiment}/{verb}"))
        before = self.states[experiment]
        legal = before in sources or before == target
        taken = verb == "start" and before != target and self._rival(experiment)
        assert answer.status_code == (200 if legal and not taken else 409), answer.text
        if legal and not taken:
            self.states[experiment] = target

    def _rival(self, experiment):
        views = {v["id"]: set(v["robots"]) for v in self.listed()}
        return any(
            views[other] & views[experiment]
            for other, state in self.states.items()
            if other != experiment and state in LIVE
        )

    @rule(experiment=PICK)
    def delete(self, experiment):
        experiment = self.chosen(experiment)
        robots = [s for s in self.house.fleet.sessions() if s.experiment == experiment]
        busy = any(s.heartbeat.backlog_rows or s.heartbeat.safety != "stop" for s in robots)
        may = self.states[experiment] in DELETABLE and not busy
        path = f"/experiments/{experiment}?confirm={experiment}"
        self.ask("DELETE", path, None, 204 if may else 409)
        if may:
            del self.states[experiment], self.rows[experiment]
            self.ask("GET", f"/experiments/{experiment}", None, 404)
            assert not (self.folder / "experiments" / experiment).exists()

    @rule(robot=st.sampled_from(ROBOTS))
    def join(self, robot):
        before = self.house.fleet.connected.get(robot)
        try:
            joined = self.call(self.house.join, robot)
        except DreamfleetError:
            return
        assert self.states[joined] in LIVE
        self.call(self.house.experiments.joined, robot, joined)
        if before is None or before.experiment != joined:
            self.boots += 1
            self.recorders[robot] = Recorder(ROBOTS.index(robot), epoch=f"boot-{self.boots}")

    @rule(robot=st.sampled_from(ROBOTS), length=st.integers(1, 7))
    def deliver(self, robot, length):
        self.join(robot)
        session = self.house.fleet.connected.get(robot)
        if session is None:
            return
        recorder = self.recorders[robot]
        for _, chunk in recorder.chunks(length):
            self._store(robot, session.experiment, chunk)

    def _store(self, robot, experiment, chunk: Chunk):
        """Each chunk is sent once, and all of it must be kept."""
        outcome = self.house.fleet.store(experiment).append(robot, chunk)
        assert outcome.stored == chunk.rows
        self.call(self.house.experiments.stored, robot, experiment, chunk)
        self.rows[experiment] += chunk.rows

    @rule(robot=st.sampled_from(ROBOTS), still=st.booleans(), backlog=st.integers(0, 1))
    def beat(self, robot, still, backlog):
        session = self.house.fleet.connected.get(robot)
        if session is None:
            return
        safety = "stop" if still else "fresh"
        beat = Heartbeat(1, -1, safety, "", backlog, 20.0, 0, 0, 0.5, 0.0, "", 0)
        object.__setattr__(session, "heartbeat", beat)
        self.call(self.house.experiments.heartbeat, robot, session.experiment, beat)
        moved = robot not in self.house.fleet.connected
        assert not moved or (still and not backlog)
        if moved:
            self.join(robot)

    @rule(robot=st.sampled_from(ROBOTS), experiment=PICK, live=st.booleans())
    def assign(self, robot, experiment, live):
        running = sorted(filter(self.runs, self.states))
        experiment = (
            running[experiment % len(running)] if live and running else self.chosen(experiment)
        )
        known = any(r["name"] == robot for r in self.run(self.house.items("/robots")))
        path = f"/robots/{robot}/experiment"
        self.ask("PUT", path, {"experiment": experiment}, 200 if known else 404)
        self.beat(robot, True, 0)
        session = self.house.fleet.connected.get(robot)
        assert session is None or session.experiment == experiment or not self.runs(experiment)

    def runs(self, experiment):
        return self.states[experiment] in LIVE

    @rule(robot=st.sampled_from(ROBOTS), verb=st.sampled_from(["discard", "success", "pause"]))
    def tell(self, robot, verb):
        known = any(r["name"] == robot for r in self.run(self.house.items("/robots")))
        connected = robot in self.house.fleet.connected
        status = 202 if connected else 409 if known else 404
        self.ask("POST", f"/robots/{robot}/{verb}", None, status)

    @rule(experiment=PICK)
    def learner_gives_up(self, experiment):
        experiment = self.chosen(experiment)
        if self.states[experiment] == "running":
            self.call(self.house.experiments.learner_died, experiment, "it cannot be", True)
            self.states[experiment] = "failed"

    @rule()
    def restart(self):
        self.run(self.entered.__aexit__(None, None, None))
        self._enter()

    def listed(self):
        return self.run(self.house.items("/experiments?limit=1000"))

    @invariant()
    def the_states_are_those_of_the_table(self):
        if hasattr(self, "states"):
            assert {v["id"]: v["state"] for v in self.listed()} == self.states

    @invariant()
    def no_row_is_lost(self):
        if not hasattr(self, "states"):
            return
        assert {v["id"]: v["rows"] for v in self.listed()} == self.rows
        for experiment, rows in self.rows.items():
            if rows:
                audit = self.house.fleet.store(experiment).verify()
                assert (audit.rows, audit.problems) == (rows, ())

    @invariant()
    def learners_work_on_live_experiments_only(self):
        if hasattr(self, "states"):
            working = self.house.experiments._supervisor.started
            assert all(self.states.get(experiment) in (*LIVE, "failed") for experiment in working)


TestOperators = Operators.TestCase
TestOperators.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
