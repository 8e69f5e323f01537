"""The gripper's protocol, over a real socket."""

from collections.abc import Callable, Iterator

import pytest

from robot_client.clock import ManualClock
from robot_client.errors import RobotError, SchemaError
from robot_client.robots import robotiq
from robot_client.robots.robotiq import Robotiq
from tests.unit.arm_doubles import GripperServer


@pytest.fixture(params=[b"", b"\n"], ids=["bare", "line"])
def server(request: pytest.FixtureRequest) -> Iterator[GripperServer]:
    with GripperServer(request.param) as server:
        yield server


@pytest.fixture
def gripper(server: GripperServer) -> Iterator[Robotiq]:
    gripper = Robotiq("127.0.0.1", ManualClock(), port=server.port)
    gripper.connect()
    yield gripper
    gripper.close()


def until(condition: Callable[[], bool], looks: int = 10) -> int:
    return next(n for n in range(looks) if condition())


def test_a_gripper_that_is_active_is_not_activated_again(server, gripper):
    assert not [line for line in server.lines if "ACT" in line]


def test_a_gripper_that_is_not_active_is_activated():
    with GripperServer(active=False) as server:
        gripper = Robotiq("127.0.0.1", ManualClock(), port=server.port)
        gripper.connect()
        gripper.close()
    assert [line for line in server.lines if "SET" in line] == ["SET ACT 0", "SET ACT 1"]


def test_it_closes_on_nothing(server, gripper):
    gripper.squeeze(0.0)
    assert server.lines[-1] == "SET POS 255 SPE 128 FOR 30 GTO 1"
    assert until(gripper.still) == 2  # while OBJ says that it moves
    assert gripper.opening() == 0


def test_it_opens(server, gripper):
    gripper.squeeze(0.0)
    gripper.squeeze(1.0)
    assert server.lines[-1].startswith("SET POS 0 ")
    until(gripper.still)
    assert gripper.opening() == 1


def test_it_closes_on_something(server, gripper):
    """228 - 130 of the 225 positions from closed to open."""
    server.object_at = 130
    gripper.squeeze(0.0)
    until(gripper.still)
    assert gripper.opening() == pytest.approx(98 / 225)


def test_half_open_is_half_way_between_the_two_measured_ends(server, gripper):
    gripper.squeeze(0.5)
    assert server.registers["PRE"] == 116  # 115.5


def test_a_fault_that_passes_is_none_and_a_lasting_one_is_an_error(server, gripper):
    server.registers["FLT"] = 5
    gripper.check()
    server.registers["FLT"] = 13
    with pytest.raises(RobotError, match="fault 13"):
        gripper.check()


def test_an_answer_to_another_question_is_refused(server, gripper):
    server.answer = lambda line: b"POS 3"
    with pytest.raises(RobotError, match="GET STA: expected STA and a number, got 'POS 3'"):
        gripper._get("STA")
    with pytest.raises(RobotError, match="expected ack, got 'POS 3'"):
        gripper.squeeze(1.0)


def test_a_gripper_that_is_silent_is_an_error_and_is_not_asked_again(server, gripper, monkeypatch):
    monkeypatch.setattr(robotiq, "TIMEOUT_S", 0.05)
    gripper.close()
    gripper.connect()
    server.silent = True
    with pytest.raises(RobotError, match="GET POS: timed out"):
        gripper.opening()
    with pytest.raises(RobotError, match="not connected"):
        gripper.opening()


def test_a_lost_connection_is_an_error(server, gripper):
    server.answer = lambda line: (_ for _ in ()).throw(ConnectionError)
    with pytest.raises(RobotError, match="no answer"):
        gripper.opening()


def test_nobody_there_is_an_error():
    with GripperServer() as server:
        port = server.port
    with pytest.raises(RobotError, match=f"127.0.0.1:{port}"):
        Robotiq("127.0.0.1", ManualClock(), port=port).connect()


@pytest.mark.parametrize("ends", [(228, 3), (3, 3), (-1, 200), (0, 256)])
def test_ends_that_make_no_sense_are_refused(ends):
    with pytest.raises(SchemaError, match="opened < closed"):
        Robotiq("host", ManualClock(), opened=ends[0], closed=ends[1])
