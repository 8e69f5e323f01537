"""Server, learner and robot are killed at random moments; nothing is lost, doubled or forgotten.

KILLS=50 in the environment makes it 50 of each.
"""

import os
import random
import threading

import numpy as np
import pytest

from tests.system.harness import (
    CLOCK,
    Counter,
    Server,
    check_counting,
    descendants,
    is_learner,
    kill,
    pause,
    wait_until,
)

KILLS = int(os.environ.get("KILLS", "20"))
SPREAD_S = 1.0  # the longest pause before a kill
PROGRESS_EVERY = 4  # rounds, after which the learner gets the time to learn
OUTAGE_S = 4.0
GAP_TICKS = 50  # the longest hole in the robot's rows that a busy machine may excuse


class Watcher:
    """Looks at one experiment from outside, all the time, through every death."""

    def __init__(self, server, experiment):
        self._server, self._experiment = server, experiment
        self.lives = {}  # pid -> (newest checkpoint before it, updates when it was first heard)
        self.newest = []  # number of the newest checkpoint, whenever it changed
        self.errors = []  # answers of the API that were none; an absent server is no error
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    @property
    def checkpoint(self):
        return self.newest[-1] if self.newest else 0

    def _watch(self):
        while not self._done.wait(0.05):
            before = self.checkpoint
            try:
                self._look(before)
            except AssertionError as error:
                self.errors.append(error)
            for number in self._server.checkpoints(self._experiment)[-1:]:
                if number != self.checkpoint:
                    self.newest.append(number)

    def _look(self, before):
        found = self._server.experiment(self._experiment)
        learner = found["learner"] if found else {"state": "none"}
        if learner["state"] == "running" and learner["pid"] not in self.lives:
            self.lives[learner["pid"]] = before, learner["updates"]


class Chaos:
    """Kills, and starts again at once what nobody else restarts."""

    def __init__(self, server, counter):
        self._server, self._counter = server, counter
        self.random = random.Random(0)
        self.kills = {"server": 0, "learner": 0, "client": 0}

    def round(self):
        """One kill of each kind, in random order, after random pauses."""
        kinds = list(self.kills)
        self.random.shuffle(kinds)
        for kind in kinds:
            pause(self.random.uniform(0, SPREAD_S))
            getattr(self, kind)()
            self.kills[kind] += 1

    def server(self):
        self._server.kill()
        self._server.start(wait=False)

    def client(self):
        assert self._counter.child.running, self._counter.child.tail()
        self._counter.kill()
        self._counter.start()

    def learner(self):
        def hit():
            assert self._server.child.running, self._server.child.tail()
            children = descendants(self._server.child.pid)
            return any(kill(pid) for pid in children if is_learner(pid))

        wait_until(hit, self._server.child.tail)


def outage(server, counter):
    """Monotonic times between which the server was dead and the robot alive."""
    server.wait_up()
    wait_until(lambda: (server.robot(counter.name) or {}).get("loop_hz"), counter.child.tail)
    server.kill()
    begin = CLOCK.monotonic()
    pause(OUTAGE_S)
    end = CLOCK.monotonic()
    server.start()
    return begin, end


def let_finish(server, counter, experiment, episodes=10):
    """Some more episodes in peace; then the robot pauses until all its rows are stored."""
    server.wait_up()
    goal = counter.counted[0] + episodes
    wait_until(lambda: counter.counted[0] > goal, counter.child.tail)
    wait_until(lambda: (server.robot(counter.name) or {}).get("connected"), counter.child.tail)
    server.post(f"/robots/{counter.name}/pause")

    def drained():
        robot = server.robot(counter.name) or {}
        paused = robot.get("reason") == "paused by an operator"
        return paused and robot["backlog_rows"] == 0

    wait_until(drained, lambda: f"{server.robot(counter.name)} {counter.child.tail()}")
    assert counter.child.end() == 0
    server.wait_for(experiment, lambda found: found["policy_version"] is not None)


@pytest.mark.timeout(120 + 30 * KILLS)
def test_everything_is_killed_and_every_row_is_stored_once_and_learning_goes_on(tmp_path):
    with Server(tmp_path) as server:
        experiment = server.create()
        with Counter(server) as counter, Watcher(server, experiment) as watcher:
            chaos, outages = Chaos(server, counter), []

            def learn():
                before = watcher.checkpoint
                wait_until(lambda: watcher.checkpoint > before, server.child.tail)

            learn()
            for number in range(KILLS):
                chaos.round()
                if number % PROGRESS_EVERY == PROGRESS_EVERY - 1:
                    learn()
                if number == KILLS // 2:
                    outages.append(outage(server, counter))
            learn()
            let_finish(server, counter, experiment)
            absences = server.absences(experiment)
        assert 0 < len(absences) <= KILLS + len(outages)
        assert all(text.endswith("crashed or was killed") for text in absences)
        assert chaos.kills == dict.fromkeys(chaos.kills, KILLS)
        rows, audit = server.rows(experiment)
        check_rows(rows, audit, server.experiment(experiment), counter)
        for begin, end in outages:
            check_cadence(rows, begin, end, counter.hz)
        check_learning(watcher, server)


def check_rows(rows, audit, shown, counter):
    assert audit.problems == ()
    assert set(rows.stream) == {0}
    spool = counter.spool()
    assert spool["rows"] == 0
    assert spool["next_seq"] == len(rows) == shown["rows"]
    missing = check_counting(rows)
    assert np.count_nonzero(missing) <= KILLS
    assert missing.sum() <= 2 * KILLS
    assert rows.total[-1] == counter.counted[1]
    assert (np.diff(rows.version) >= 0).all()


def check_cadence(rows, begin, end, hz):
    """The robot went on at its rate: judged by the ticks it made, with room for a busy machine."""
    times = rows.time[(rows.time >= begin) & (rows.time <= end)]
    assert len(times) > (end - begin) * hz / 2
    gaps = np.diff(np.concatenate([[begin], times, [end]]))
    assert gaps.max() < GAP_TICKS / hz


def check_learning(watcher, server):
    assert watcher.errors == []
    assert watcher.newest == sorted(set(watcher.newest))
    resumed = [life for life in watcher.lives.values() if life[0]]
    assert len(resumed) >= KILLS // PROGRESS_EVERY
    assert [life for life in resumed if life[1] < life[0]] == []
    versions = [v for (v,) in server.sql("select version from policies order by created_at")]
    assert versions == sorted(set(versions))
    assert len(versions) > KILLS // PROGRESS_EVERY
