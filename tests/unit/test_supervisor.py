"""Real processes throughout: the fake learner speaks the protocol, and misbehaves on request."""

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from server.supervisor import Patience, Supervisor

FAKE = Path(__file__).parents[1] / "fake_learner.py"
SHORT = Patience(start=60, silence=60, stop=30, terminate=10, first_delay=0.01, max_delay=0.04)


class Ear:
    def __init__(self):
        self.events, self.deaths = [], []
        self._news = asyncio.Condition()

    def learner_said(self, experiment, event):
        self.events.append((experiment, event))

    def learner_died(self, experiment, reason, final):
        self.deaths.append((experiment, reason, final))

    def kinds(self):
        return [event["event"] for _, event in self.events]


async def until(condition):
    while not condition():
        await asyncio.sleep(0.01)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def scenario(manner, tmp_path, act, patience=SHORT, command=None):
    """Run a supervisor with one learner named x, of this manner; `act` returns what to check."""

    async def run():
        ear = Ear()
        command_ = command or (lambda directory: [sys.executable, str(FAKE), str(directory)])
        supervisor = Supervisor(ear, command_, patience)
        supervisor.start("x", tmp_path / manner)
        try:
            return await act(supervisor, ear)
        finally:
            await supervisor.close()

    return asyncio.run(run())


def test_events_arrive_and_stop_lets_it_end(tmp_path):
    async def act(supervisor, ear):
        await until(lambda: "report" in ear.kinds())
        status = supervisor.status("x")
        await supervisor.stop("x")
        return ear, status, supervisor.status("x").state

    ear, status, after = scenario("good", tmp_path, act)
    assert ear.kinds()[:4] == ["ready", "metrics", "policy", "report"]
    assert (status.state, status.updates, status.restarts) == ("running", 6, 0)
    assert after == "none"
    assert not alive(status.pid)
    assert (tmp_path / "good" / "orders").read_text() == "stop\n"
    assert ear.deaths == []


def test_pause_and_resume_reach_it(tmp_path):
    async def act(supervisor, ear):
        await until(lambda: "report" in ear.kinds())
        supervisor.pause("x")
        paused = supervisor.status("x").state
        supervisor.resume("x")
        await until(lambda: ear.kinds().count("heard") == 2)
        return paused, supervisor.status("x").state

    assert scenario("good", tmp_path, act) == ("paused", "running")
    assert (tmp_path / "good" / "orders").read_text().split() == ["pause", "resume", "stop"]


@pytest.mark.parametrize(
    ("manner", "why"),
    [
        ("raises", "ended with exit code 1: RuntimeError: the loss is not a number"),
        ("says", "CUDA is out of memory"),
    ],
)
def test_one_that_dies_is_restarted_and_says_why(tmp_path, manner, why):
    async def act(supervisor, ear):
        await until(lambda: len(ear.deaths) >= 3)
        return ear.deaths, supervisor.status("x")

    deaths, status = scenario(manner, tmp_path, act)
    assert deaths[:3] == [("x", why, False)] * 3
    assert (status.state, status.reason) == ("restarting", why)
    assert status.restarts >= 2
    if manner == "raises":
        assert "Traceback" in status.tail


def test_it_runs_again_after_a_death_and_remembers_why(tmp_path):
    async def act(supervisor, ear):
        await until(lambda: "report" in ear.kinds())
        return supervisor.status("x")

    status = scenario("once", tmp_path, act)
    assert (status.state, status.reason) == ("running", "ended with exit code 3")
    assert status.restarts == 1


def test_one_that_wrote_a_checkpoint_ran_well(tmp_path):
    async def act(supervisor, ear):
        await until(lambda: len(ear.deaths) >= 4)
        return supervisor.status("x").restarts

    endless = Patience(start=60, silence=60, first_delay=0.01, max_delay=3600, well=3600)
    assert scenario("progresses", tmp_path, act, endless) <= 1


def test_a_fatal_error_is_not_tried_again(tmp_path):
    async def act(supervisor, ear):
        await until(lambda: ear.deaths)
        supervisor.pause("x")  # says nothing to the dead
        return ear.deaths, supervisor.status("x")

    deaths, status = scenario("fatal", tmp_path, act)
    assert deaths == [("x", "action_space: expected Box, got Discrete", True)]
    assert (status.state, status.pid) == ("failed", None)
    assert (tmp_path / "fatal" / "lives").read_text() == "1"


@pytest.mark.parametrize(
    ("manner", "patience"),
    [
        ("hangs", Patience(silence=0.05, first_delay=30)),
        ("mute", Patience(start=1, first_delay=30)),
    ],
)
def test_a_silent_one_is_killed(tmp_path, manner, patience):
    async def act(supervisor, ear):
        await until(lambda: ear.deaths)
        return ear.deaths[0]

    _, reason, final = scenario(manner, tmp_path, act, patience)
    assert "killed because it was silent for" in reason
    assert not final


def test_one_that_will_not_stop_is_killed(tmp_path):
    patience = Patience(stop=0.05, terminate=0.05)

    async def act(supervisor, ear):
        await until(lambda: "deaf" in ear.kinds())
        pid = supervisor.status("x").pid
        await supervisor.stop("x")
        return pid

    assert not alive(scenario("deaf", tmp_path, act, patience))


def test_lines_that_are_no_events_are_passed_over(tmp_path):
    async def act(supervisor, ear):
        await until(lambda: "report" in ear.kinds())
        return ear

    ear = scenario("garbage", tmp_path, act)
    assert ear.deaths == []
    assert ear.kinds()[:2] == ["ready", "metrics"]


def test_stopping_while_it_starts_leaves_nothing_behind(tmp_path):
    async def act(supervisor, ear):
        await asyncio.sleep(0)
        await supervisor.stop("x")
        return supervisor.status("x").state

    assert scenario("good", tmp_path, act) == "none"


def test_a_program_that_is_not_there_is_a_reason(tmp_path):
    async def act(supervisor, ear):
        await until(lambda: len(ear.deaths) >= 2)
        return ear.deaths[0][1]

    reason = scenario("good", tmp_path, act, command=lambda _: [str(tmp_path / "missing")])
    assert "could not be started" in reason


def test_the_delay_doubles_up_to_its_limit(tmp_path, monkeypatch):
    delays = []

    async def note(event, seconds):
        delays.append(seconds)

    monkeypatch.setattr("server.supervisor._wait", note)

    async def act(supervisor, ear):
        await until(lambda: len(ear.deaths) >= 5)

    scenario("raises", tmp_path, act, command=lambda _: ["false"])
    assert delays[:5] == [0.01, 0.02, 0.04, 0.04, 0.04]


def test_one_that_misses_its_heartbeats_counts_as_frozen_until_it_speaks(tmp_path):
    async def act(supervisor, ear):
        await until(lambda: supervisor.status("x").state == "frozen")
        supervisor.pause("x")  # it answers orders
        await until(lambda: supervisor.status("x").state == "paused")
        return ear.deaths

    patience = replace(SHORT, frozen=0.05)
    assert scenario("good", tmp_path, act, patience) == []


def test_one_whose_training_is_stuck_is_replaced(tmp_path):
    async def act(supervisor, ear):
        await until(lambda: len(ear.deaths) >= 2)
        return ear.deaths[0]

    death = scenario("stuck", tmp_path, act)
    assert death == ("x", "killed because it was stuck for 1000000 s", False)
