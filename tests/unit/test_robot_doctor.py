"""`dreamfleet-robot doctor`: what it finds on a machine, and that a server answers it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_client import doctor, keys, probe
from robot_client.cli import main
from robot_client.clock import ManualClock, SystemClock
from robot_client.doctor import Place
from robot_client.errors import LinkError
from robot_client.findings import Finding, lines
from robot_client.link import CurveKeys
from robot_client.probe import round_trip, server_clock
from robot_client.robots import make_robot
from tests.unit.test_server_cli import ask, server


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(
        home=tmp_path / "arm",
        spool=tmp_path / "arm/spool",
        cache=tmp_path / "arm/cache",
        server="tcp://127.0.0.1:9",
        api="http://127.0.0.1:9",
        link_keys=lambda: None,
        robot=lambda: make_robot("counting"),
        clock=SystemClock(),
    )


def levels(found: object) -> list[str]:
    return [finding.level for finding in found]  # type: ignore[attr-defined]


def test_a_machine_is_fine_without_a_server_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["doctor", "counting", "--server", "tcp://127.0.0.1:9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [f["check"] for f in found if f["level"] != "OK"] in (["server"], ["server", "rate"])
    assert {"python", "onnxruntime", "keys", "spool", "robot", "rate"} < {f["check"] for f in found}
    assert not (tmp_path / ".dreamfleet").exists()


def test_a_robot_that_is_wrong_ends_it_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["doctor", "nothing", "--server", "tcp://127.0.0.1:9"]) == 1
    assert "FAIL  robot: no robot 'nothing'" in capsys.readouterr().out


def test_a_finding_is_a_line_and_its_advice_another() -> None:
    assert list(lines(Finding("disk", "WARN", "full", "tidy up"))) == [
        "WARN  disk: full",
        "      -> tidy up",
    ]


def test_keys_that_others_may_read_or_that_trust_nobody(place: Place) -> None:
    assert levels(doctor.check_keys(place)) == ["OK"]
    path = keys.write(place.home, "robot", keys.generate())
    assert levels(doctor.check_keys(place)) == ["OK", "OK", "WARN"]
    (place.home / "server.pub").write_text(keys.generate().public)
    assert levels(doctor.check_keys(place)) == ["OK", "OK"]
    path.chmod(0o644)
    assert levels(doctor.check_keys(place)) == ["FAIL"]


class SlowDisk(ManualClock):
    """Time passes whenever somebody looks."""

    def monotonic(self) -> float:
        self.advance(0.2)
        return super().monotonic()


def test_a_slow_disk_is_found(place: Place) -> None:
    assert levels(doctor.check_disk(replace(place, clock=ManualClock()))) == ["OK"] * 3
    assert levels(doctor.check_disk(replace(place, clock=SlowDisk()))) == ["OK", "OK", "WARN"]


class Late(ManualClock):
    """Sleeps longer than it is asked to."""

    def sleep_until(self, deadline: float) -> None:
        super().sleep_until(deadline + 0.03)


def test_a_rate_that_cannot_be_kept_is_found() -> None:
    found = doctor._pace(ManualClock(), 50.0)
    assert (found.level, found.text) == ("OK", "50 Hz: 99 of 100 ticks are less than 0.00 ms late")
    assert doctor._pace(Late(), 50.0).level == "WARN"


def test_the_graph_that_is_written_out_runs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels(doctor.check_session(place)) == ["OK"]
    monkeypatch.setattr(doctor, "_IDENTITY", b"nonsense")
    assert levels(doctor.check_session(place)) == ["FAIL"]


@pytest.mark.parametrize("ahead", [0.0, 0.9, -3.3])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("begin", [1e9, 1e9 + 0.25, 1e9 + 0.7])
@pytest.mark.parametrize("anew_s", [0.001, 1.005, 2.3])
def test_the_offset_of_a_clock_is_where_it_is_said_to_be(
    ahead: float, phase: float, begin: float, anew_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(begin)

    def date(*_: object) -> float:
        """A server that writes its Date anew now and then, and takes a while to answer."""
        clock.advance(0.004)
        now = clock.wall() + ahead
        clock.advance(0.004)
        return float(np.floor(now - (now - phase) % anew_s))

    monkeypatch.setattr(probe, "_date", date)
    found = server_clock("", clock)
    assert found is not None
    assert abs(found.ahead_s - ahead) <= found.within_s
    assert found.within_s < 0.7


def test_a_server_answers_and_nobody_has_joined(tmp_path: Path, place: Place) -> None:
    with server(tmp_path) as (_, address):
        gateway = f"ipc://{tmp_path}/gateway"
        found = round_trip(gateway, None, SystemClock())
        assert 0 < found.median_s <= found.longest_s
        ahead = server_clock(address, SystemClock())
        assert ahead is not None
        assert abs(ahead.ahead_s) <= ahead.within_s < 5  # it is this machine's own clock
        there = replace(place, server=gateway, api=address)
        assert levels(doctor.check_server(there)) == ["OK", "OK"]
        assert levels(doctor.check_server(replace(there, api="nonsense"))) == ["OK", "WARN"]
        assert ask(address, "robots", "list") == []
        assert ask(address, "health")["robots"] == 0
    ours = CurveKeys(keys.generate(), keys.generate().public)
    with pytest.raises(LinkError, match="nobody listens"):
        round_trip("tcp://127.0.0.1:9", ours, SystemClock(), 0.2)
    with pytest.raises(LinkError, match="without keys"):
        round_trip("tcp://192.0.2.1:5555", None, SystemClock(), 0.2)


def test_a_server_with_other_keys_does_not_answer(tmp_path: Path) -> None:
    import zmq

    pair = keys.generate()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.curve_server, router.linger = True, 0
        router.curve_secretkey = pair.secret.encode()
        router.bind(f"ipc://{tmp_path}/g")
        strangers = CurveKeys(keys.generate(), keys.generate().public)
        with pytest.raises(LinkError, match="does it know this robot's key"):
            round_trip(f"ipc://{tmp_path}/g", strangers, SystemClock(), 0.3)
