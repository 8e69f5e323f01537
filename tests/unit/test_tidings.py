"""What a person at the robot is told, and how often."""

from __future__ import annotations

import io
import logging
import socket
import threading
from dataclasses import replace

import pytest

from robot_client.clock import ManualClock
from robot_client.messages import Heartbeat, Welcome
from robot_client.tidings import AGAIN_S, PATIENCE_S, Standing, Tidings, told_on

CLOSED = "tcp://127.0.0.1:9"
STILL = Heartbeat(1, -1, "stop", "there is no policy yet", 0, 0.0, 0, -1, -1.0, 0.0, "", 0)
ACTING = replace(STILL, policy_version=4, safety="fresh", reason="")
ALONE = Standing(None, 0.0, STILL, "none", "", "")
WELCOME = Welcome("ball", "x1", 0, 0.1)


class Told:
    """Tidings of how a link stands at the time, and what they told since one last asked."""

    def __init__(self, address: str = CLOSED, keyed: bool = False) -> None:
        self.clock, self.stream, self.now = ManualClock(), io.StringIO(), ALONE
        self.tidings = Tidings(address, keyed, lambda: self.now, self.clock)

    def after(self, seconds: float, **changes: object) -> list[str]:
        """What is told within so many seconds of standing like this."""
        self.now = replace(self.now, **changes)  # type: ignore[arg-type]
        self.stream.seek(0)
        self.stream.truncate()
        with told_on(self.stream, "robot", self.clock):
            for _ in range(max(1, round(seconds))):
                self.tidings.tell()
                self.tidings.wait(5.0)
                self.clock.advance(1.0)
        return self.stream.getvalue().splitlines()


def test_a_server_that_is_not_there_is_told_of_once_in_a_while() -> None:
    told = Told()
    assert told.after(2) == []
    (line,) = told.after(AGAIN_S - 1, silent_s=PATIENCE_S)
    assert line.startswith(f"robot: no server at {CLOSED} answers yet: nobody listens there")
    assert line.endswith("there is no policy; retrying")
    assert len(told.after(2 * AGAIN_S)) == 2
    assert told.after(1, welcome=WELCOME) == [f"robot: connected to {CLOSED}, experiment x1"]
    assert told.after(5, beat=ACTING) == []


def test_a_server_that_goes_and_comes_back() -> None:
    told = Told()
    told.after(1, welcome=WELCOME, beat=ACTING)
    assert told.after(2, welcome=None) == []
    (line,) = told.after(5, silent_s=PATIENCE_S)
    assert "answers any more" in line
    assert "acting on with version 4" in line
    assert told.after(5, welcome=WELCOME) == [f"robot: connected again to {CLOSED}, experiment x1"]
    moved = replace(WELCOME, experiment="x2")
    assert told.after(5, welcome=moved) == [f"robot: connected again to {CLOSED}, experiment x2"]


@pytest.mark.parametrize(
    ("keyed", "why"), [(True, "know this robot's key"), (False, "ask for keys")]
)
def test_one_that_listens_without_an_answer_may_not_know_our_key(keyed: bool, why: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told = Told(f"tcp://127.0.0.1:{listener.getsockname()[1]}", keyed)
        (line,) = told.after(1, silent_s=PATIENCE_S)
    assert why in line


def test_the_link_does_not_wait_for_a_name_that_is_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = threading.Event()

    def look_up(address: str, patience_s: float) -> None:
        assert found.wait(30)

    monkeypatch.setattr("robot_client.tidings.knock", look_up)
    told = Told("tcp://lab-server:5555", keyed=True)
    told.now = replace(ALONE, silent_s=PATIENCE_S)
    with told_on(told.stream, "robot", told.clock):
        for _ in range(round(2 * AGAIN_S)):
            told.tidings.tell()  # would hang here, or be told twice at the end
            told.clock.advance(1.0)
        assert told.stream.getvalue() == ""
        found.set()
        told.tidings.wait(30)
    (line,) = told.stream.getvalue().splitlines()
    assert "know this robot's key" in line


def test_a_server_that_came_while_its_name_was_looked_up_is_not_called_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = threading.Event()
    monkeypatch.setattr("robot_client.tidings.knock", lambda *_: found.wait(30))
    told = Told(keyed=True)
    told.now = replace(ALONE, silent_s=PATIENCE_S)
    with told_on(told.stream, "robot", told.clock):
        told.tidings.tell()
        told.clock.advance(1.0)
        told.now = replace(ALONE, welcome=WELCOME)
        told.tidings.tell()
        found.set()
        told.tidings.wait(30)
    assert told.stream.getvalue() == f"robot: connected to {CLOSED}, experiment x1\n"


def test_why_there_is_no_place_and_no_policy_and_no_delivery() -> None:
    told = Told()
    (line,) = told.after(5, refusal="no running experiment has a place for this robot")
    assert line == f"robot: {CLOSED}: no running experiment has a place for this robot; retrying"
    lines = told.after(5, refusal="", welcome=WELCOME, learner="running")
    assert lines[1:] == ["robot: stop: there is no policy yet (the learner is running)"]
    assert told.after(5, beat=ACTING) == ["robot: acting with version 4"]
    assert told.after(5, fault="the disk is gone") == ["robot: the disk is gone"]


def test_what_others_log_is_told_once_in_a_while_whatever_its_numbers() -> None:
    stream, clock = io.StringIO(), ManualClock()
    log = logging.getLogger("robot_client.policy_cache")
    with told_on(stream, "robot", clock):
        for version in range(65):
            log.error("policy refused: version %d: plan settings", version)
            clock.advance(1.0)
    log.error("nobody is told any more")
    assert stream.getvalue().splitlines() == [
        f"robot: policy refused: version {version}: plan settings" for version in (0, 30, 60)
    ]
