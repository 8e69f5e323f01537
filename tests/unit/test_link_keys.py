"""A link whose key, or whose server's key, changes: it comes back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from robot_client import keys
from robot_client.link import CurveKeys
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
