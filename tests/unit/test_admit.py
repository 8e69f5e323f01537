"""Robots that leave their public keys in a folder are let in, and nobody in their place."""

import json
import os
import re

import pytest
from typer.testing import CliRunner

from robot_client import keys
from server.access import RobotKeys
from server.cli import app
from server.commands.admit import Doorway
from server.commands.local import Local
from server.settings import Settings
from server.storage import Storage

OLD, NEW = (keys.generate().public for _ in range(2))
NAMES = r"(arm|leg)-\d+"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "enrol"
    folder.mkdir()
    return folder


@pytest.fixture
def doorway(tmp_path, folder):
    return Doorway(Local(tmp_path / "data"), folder, re.compile(NAMES))


def leave(folder, robot, key):
    (folder / f"{robot}.pub").write_text(f"{key}\n")


def test_a_robot_is_let_in_once_and_the_audit_says_so(tmp_path, folder, doorway):
    leave(folder, "arm-1", OLD)
    assert [str(news) for news in doorway.look()] == ["'arm-1' may connect"]
    assert list(doorway.look()) == []
    assert RobotKeys(tmp_path / "data").name_of(OLD) == "arm-1"
    storage = Storage(Settings(tmp_path / "data").database_url)
    lines, _ = storage.audit()
    storage.close()
    assert [(line.operation, line.parameters["robot"]) for line in lines] == [
        ("enrol_key", "arm-1")
    ]


def test_nobody_takes_the_place_of_a_robot(tmp_path, folder, doorway):
    book = RobotKeys(tmp_path / "data")
    leave(folder, "arm-1", OLD)
    list(doorway.look())
    leave(folder, "arm-1", NEW)
    assert "has a key" in next(doorway.look()).problem
    leave(folder, "arm-2", OLD)
    assert "enrolled for robot 'arm-1' before" in list(doorway.look())[-1].problem
    assert (book.name_of(OLD), book.name_of(NEW)) == ("arm-1", None)


def test_who_was_revoked_stays_out_after_a_restart_too(tmp_path, folder, doorway):
    leave(folder, "arm-1", OLD)
    list(doorway.look())
    book = RobotKeys(tmp_path / "data")
    book.revoke("arm-1", "ann")
    again = Doorway(Local(tmp_path / "data"), folder, re.compile(NAMES))
    assert next(again.look()).problem
    assert book.name_of(OLD) is None


def test_what_is_no_key_of_a_robot_is_refused_once(tmp_path, folder, doorway):
    leave(folder, "server", OLD)
    leave(folder, "arm-1", "x" * 100_000)
    (folder / "arm-2.pub").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text(NEW)
    os.mkfifo(folder / "leg-1.pub")
    (folder / "leg-2.pub").mkdir()
    lines = list(doorway.look())
    assert len(lines) == 5
    assert all(str(line).startswith("refused") for line in lines)
    assert list(doorway.look()) == []
    assert RobotKeys(tmp_path / "data").all() == []


def test_the_command_looks_once(tmp_path, folder):
    leave(folder, "leg-7", OLD)
    command = ["keys", "admit", str(folder), "--only", NAMES, "--once"]
    result = CliRunner().invoke(app, [*command, "--data", str(tmp_path / "data")])
    assert result.exit_code == 0, result.output
    assert result.stdout == "'leg-7' may connect\n"


def test_the_command_answers_in_json(tmp_path, folder):
    leave(folder, "leg-7", OLD)
    leave(folder, "stranger", NEW)
    command = ["keys", "admit", str(folder), "--only", NAMES, "--once", "--json"]
    result = CliRunner().invoke(app, [*command, "--data", str(tmp_path / "data")])
    assert result.exit_code == 0, result.output
    found = {one["robot"]: one["problem"] for one in map(json.loads, result.stdout.splitlines())}
    assert found.pop("leg-7") == ""
    assert "no name for a robot" in found["stranger"]
