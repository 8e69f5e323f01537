"""Robots that go silent, come back, say goodbye or wait: told once each, and shown."""

from types import SimpleNamespace

import pytest

from robot_client.clock import ManualClock
from robot_client.errors import SchemaError
from robot_client.messages import GOODBYE, Event, Heartbeat
from robot_client.schema import NO_POLICY
from server.admission import place_for
from server.api.schemas import RobotView
from server.attendance import Attendance
from server.dashboard.health import needs_help
from server.errors import Conflict
from server.roster import Roster
from tests.unit.house import ACTION, OBSERVATION, hello_of, in_house
from tests.unit.test_storage import experiment


class Place:
    """A roster with one robot in one running experiment, and a clock."""

    def __init__(self):
        self.clock, self.told, self.there = ManualClock(1000.0), [], []
        writer = SimpleNamespace(put=lambda *rows: None)
        self.roster = Roster(None, writer, self.clock)
        journal = SimpleNamespace(note=lambda kind, *about: self.told.append(kind))
        self.known = {"e1": experiment(state="running")}
        self.attendance = Attendance(self.roster, journal, self.known, self.clock)
        self.attendance._fleet = self
        self.come()

    def sessions(self):
        return [SimpleNamespace(robot=name) for name in self.there]

    def come(self):
        self.roster.greet(hello_of("r"), "r", OBSERVATION, ACTION, "e1")
        self.attendance.came("r")
        self.there = ["r"]

    def beat(self, version):
        self.attendance.heard("r", Heartbeat(1, version, "fresh", "", 0, 20, 0, 0, 0, 0, "", 0))

    def pass_by(self, seconds):
        for _ in range(seconds):
            self.clock.advance(1)
            self.attendance.look()

    @property
    def state(self):
        return self.attendance.state(self.roster.get("r"), "r" in self.there)[0]


@pytest.fixture
def place():
    return Place()


def test_a_robot_that_dies_is_told_once_and_so_is_its_return(place):
    place.beat(250)
    place.pass_by(30)
    assert place.told == []
    place.there = []
    place.beat(NO_POLICY)
    place.pass_by(5)
    assert place.told == []  # it may have lost its network for a moment
    place.pass_by(60)
    assert (place.told, place.state) == (["robot_silent"], "silent")
    assert place.roster.get("r").policy_version == 250
    place.come()
    assert place.told == ["robot_silent", "robot_back"]
    assert place.state == "connected"
    place.there = []
    place.pass_by(30)
    assert place.told[2:] == ["robot_silent"]


def test_one_that_says_goodbye_or_has_no_work_is_not_missed(place):
    place.attendance.said("r", Event(GOODBYE, ""))
    place.beat(1)  # one more may be on its way
    place.there = []
    place.pass_by(60)
    assert (place.told, place.state) == ([], "offline")
    place.come()
    place.known["e1"].state = "stopped"
    place.there = []
    place.pass_by(60)
    place.known["e1"].state = "running"
    place.pass_by(60)
    assert (place.told, place.state) == ([], "offline")


def test_one_whose_connection_outlives_the_silence_is_back(place):
    place.there = []
    place.pass_by(30)
    place.there = ["r"]
    place.beat(3)
    assert place.told == ["robot_silent", "robot_back"]


def test_a_server_that_starts_gives_its_robots_time(place):
    place.clock.advance(1000)
    place.there, place.attendance._opened = [], place.clock.wall()
    place.pass_by(14)
    assert place.told == []
    place.pass_by(5)
    assert place.told == ["robot_silent"]


def test_a_robot_that_nobody_takes_is_listed_with_the_reason_and_told_once(tmp_path):
    async def act(house):
        for _ in range(3):
            with pytest.raises(Conflict, match=r"has a place for this robot: start one"):
                house.join("typo")
        await house.writer.flush()
        (found,) = await house.items("/robots")
        events = await house.items("/events")
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        house.join("typo")
        house.experiments.joined("typo", made)
        return found, events, await house.items("/robots")

    found, events, after = in_house(tmp_path, act)
    assert (found["state"], found["connected"]) == ("waiting", False)
    assert found["reason"] == "no running experiment has a place for this robot: start one"
    assert needs_help(RobotView.model_validate(found))
    assert [event["kind"] for event in events] == ["robot_waits"]
    assert after[0]["state"] == "connected"


def test_spaces_that_do_not_fit_are_told_by_the_part_that_differs():
    box = {"type": "box", "shape": [3], "dtype": "float32", "low": -1.0, "high": 1.0}
    ours = {"type": "dict", "spaces": {"arm": box, "same": box}}
    running = experiment(robots=[], state="running", observation_space=ours, action_space=ACTION)
    theirs = {"type": "dict", "spaces": {"arm": box | {"shape": [64] * 3, "low": [0] * 99}}}
    theirs["spaces"]["same"] = box
    with pytest.raises(SchemaError) as caught:
        place_for([running], "r", theirs, ACTION)
    assert caught.value.field == "observation_space.arm"
    assert "shape (3,), dtype float32" in caught.value.expected
    assert "'ball' (e1)" in caught.value.expected
    assert "dreamfleet experiments create NAME --robot r --start" in caught.value.got
    assert len(str(caught.value)) < 400
    with pytest.raises(SchemaError, match=r"action_space: expected discrete \(n 3\)"):
        place_for([running], "r", ours, {"type": "discrete", "n": 5})
    del theirs["spaces"]["arm"]
    with pytest.raises(SchemaError, match=r"observation_space.arm: .* got none; create and start"):
        place_for([running], "r", theirs, ACTION)
