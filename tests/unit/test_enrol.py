"""`dreamfleet-robot enrol`: the robot's own key, and whom it trusts."""

from __future__ import annotations

import json
import shlex
import stat
from argparse import Namespace
from pathlib import Path

import pytest

from robot_client import keys
from robot_client.cli import main
from robot_client.command_line import _keys
from robot_client.errors import LinkError

SERVER, NEXT = keys.generate().public, keys.generate().public


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".dreamfleet" / "arm 1"


def enrol(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, str]:
    assert main(["enrol", "--name", "arm 1", "--json", *more]) == 0
    printed: dict[str, str] = json.loads(capsys.readouterr().out)
    return printed


def used() -> object:
    return _keys(Namespace(name="arm 1", key=None, server_key=None))


def test_a_pair_is_made_once_and_its_secret_stays(home: Path, capsys) -> None:
    made = enrol(capsys)
    path = home / "robot.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.read(path).public == made["key"]
    assert shlex.split(made["command"]) == [
        *("dreamfleet", "keys", "enrol", "arm 1"),
        f"--key={made['key']}",
    ]
    assert enrol(capsys) == made
    assert main(["enrol", "--name", "arm 1"]) == 0
    printed = capsys.readouterr().out
    assert made["command"] in printed
    assert keys.read(path).secret not in printed
    assert used() is None  # without the server's key there is nobody to talk to


def test_a_new_pair_takes_the_place_of_the_old_one_only_when_asked(home: Path, capsys) -> None:
    old = enrol(capsys)
    new = enrol(capsys, "--replace")
    assert new["key"] != old["key"]
    assert new["command"].startswith("dreamfleet keys rotate 'arm 1' --key=")
    assert stat.S_IMODE((home / "robot.key").stat().st_mode) == 0o600


def test_the_server_is_trusted_by_its_newest_key_and_the_one_before(home: Path, capsys) -> None:
    assert enrol(capsys, f"--server-key={SERVER}")["server"] == SERVER
    found = used()
    assert (found.server, found.former) == (SERVER, ())
    file = home.parent / "from-the-server.pub"
    file.write_text(NEXT + "\n")
    for key in (str(file), NEXT):
        assert enrol(capsys, f"--server-key={key}")["server"] == NEXT
        assert (used().server, used().former) == (NEXT, (SERVER,))


def test_only_what_is_left_to_do_is_told(home: Path, capsys) -> None:
    made = enrol(capsys)
    assert not made["enrolled"]
    argv = ["enrol", "--name", "arm 1", f"--server-key={SERVER}"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "dreamfleet keys" not in printed
    assert "dreamfleet-robot run ROBOT --name 'arm 1' --server" in printed
    assert main([*argv, "--replace"]) == 0  # a key that the server has not seen
    assert "dreamfleet keys rotate 'arm 1' --key=" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["nothing.pub", "x" * 41])
def test_what_is_no_key_of_a_server_is_refused(home: Path, capsys, wrong: str) -> None:
    assert main(["enrol", "--name", "arm 1", "--server-key", wrong]) == 1
    assert "not a public key" in capsys.readouterr().err
    assert used() is None


def test_keys_that_are_named_go_together(home: Path, capsys) -> None:
    with pytest.raises(Exception, match="go together"):
        _keys(Namespace(name="arm 1", key=home / "robot.key", server_key=None))
    with pytest.raises(LinkError):
        _keys(Namespace(name="arm 1", key=home / "no.key", server_key=home / "no.pub"))
