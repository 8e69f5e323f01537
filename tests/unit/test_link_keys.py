"""A link with keys: only the right ones do, and one that changes is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from robot_client import keys
from robot_client.errors import LinkError
from robot_client.link import CurveKeys, check_address
from robot_client.messages import Hello, Rejected, Upload
from tests.unit.link_server import Setup
from tests.unit.test_link import until
from tests.unit.test_spool import fill


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    monkeypatch.setattr("robot_client.link._REDIAL_S", 0.5)
    monkeypatch.setattr("robot_client.link._REFUSED_PAUSE", 0.1)
    with zmq.Context() as context, ExitStack() as stack:
        yield Setup(tmp_path / "spool", stack, context)


def curve(server: keys.KeyPair) -> CurveKeys:
    return CurveKeys(keys.generate(), server.public)


def test_curve_with_the_right_server_key_works(setup: Setup) -> None:
    pair = keys.generate()
    link = setup.link(setup.server.bind(pair.secret.encode()), curve(pair))
    setup.server.welcome()
    until(lambda: link.connected)


def test_a_server_with_another_key_hears_nothing(setup: Setup) -> None:
    setup.server.socket.rcvtimeo = 700
    setup.link(setup.server.bind(keys.generate().secret.encode()), curve(keys.generate()))
    with pytest.raises(zmq.Again):
        setup.server.receive()


def test_other_machines_need_keys() -> None:
    for far in ("tcp://192.168.0.2:5700", "tcp://robots.example:5700", "tcp://0.0.0.0:5700"):
        with pytest.raises(LinkError, match="dreamfleet keys"):
            check_address(far, None)
        check_address(far, curve(keys.generate()))
    for near in ("tcp://127.0.0.1:5700", "tcp://localhost:1", "tcp://[::1]:5", "ipc:///x"):
        check_address(near, None)
    for bad in ("127.0.0.1:5700", "tcp://127.0.0.1", "tcp://127.0.0.1:x", "http://localhost:1"):
        with pytest.raises(LinkError, match="expected an address"):
            check_address(bad, None)


def test_a_server_that_has_not_changed_its_key_yet_is_found(setup: Setup) -> None:
    old, new = keys.generate(), keys.generate()
    trusted = CurveKeys(keys.generate(), new.public, (old.public,))
    link = setup.link(setup.server.bind(old.secret.encode()), trusted)
    setup.server.welcome()
    until(lambda: link.connected)


def test_the_key_of_a_server_may_change_while_the_robot_runs(setup: Setup) -> None:
    old, new = keys.generate(), keys.generate()
    trusted = CurveKeys(keys.generate(), new.public, (old.public,))
    link = setup.link(setup.server.bind(old.secret.encode()), trusted)
    setup.server.welcome()
    until(lambda: link.connected)
    address = setup.server.address
    setup.server.socket.close()
    until(lambda: not link.connected)
    setup.server = setup.new_server(address)
    setup.server.bind(new.secret.encode())
    setup.server.welcome()
    until(lambda: link.connected)


def test_a_key_that_is_refused_midway_may_be_taken_again(setup: Setup) -> None:
    fill(setup.spool, 0, 3)
    pair = keys.generate()
    link = setup.link(
        setup.server.bind(pair.secret.encode()), CurveKeys(keys.generate(), pair.public)
    )
    setup.server.welcome()
    assert setup.server.want(Upload).first_seq == 0
    setup.server.send(Rejected("Upload", "key", "a key that is enrolled", "another", True))
    until(lambda: not link.connected)
    assert "a key that is enrolled" in link.error
    assert setup.server.want(Hello).first_seq == 0
    setup.server.welcome()
    assert setup.server.want(Upload).first_seq == 0
    until(lambda: link.connected and not link.error)
    assert link.backlog == 3
