"""`dreamfleet keys` and `dreamfleet tokens`, on a data directory and through REST."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from robot_client import keys
from server.cli import app
from server.errors import Conflict, NotFound, ServerError
from server.settings import Settings
from server.storage import Storage
from tests.unit.test_server_cli import server

runner = CliRunner()
OLD, NEW = (keys.generate().public for _ in range(2))


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DREAMFLEET_SERVER", "DREAMFLEET_TOKEN", "DREAMFLEET_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")


def told(*arguments: str) -> str:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.stdout


def asked(*arguments: str):
    return json.loads(told(*arguments, "--json"))


def refused(*arguments: str) -> str:
    result = runner.invoke(app, arguments)
    assert isinstance(result.exception, ServerError), result.output
    return str(result.exception)


def life_of_a_key(where: list[str]) -> None:
    """Every verb of `keys` that both ways have."""
    made = asked("keys", "enrol", "arm", f"--key={OLD}", *where)
    assert (made["robot"], made["valid"]) == ("arm", True)
    assert "has a key" in refused("keys", "enrol", "arm", f"--key={NEW}", *where)
    assert asked("keys", "rotate", "arm", f"--key={NEW}", "--overlap", "1", *where)["key"] == NEW
    public = asked("keys", "show", *where)["server"]
    assert public in told("keys", "show", *where)
    listed = asked("keys", "list", *where)
    assert [key["until"] is None for key in listed] == [False, True]
    table = told("keys", "list", *where)
    assert OLD in table
    assert [k["key"] for k in asked("keys", "revoke", "arm", f"--key={OLD}", *where)] == [OLD]
    assert "no" in told("keys", "revoke", "arm", *where)
    assert not any(key["valid"] for key in asked("keys", "list", *where))
    assert "has no key" in refused("keys", "revoke", "arm", *where)


def life_of_a_token(where: list[str]) -> None:
    """Every verb of `tokens`, where there is an operator's token."""
    made = asked("tokens", "create", "bob", *where)
    assert (made["role"], made["token"][:3]) == ("viewer", "df_")
    assert "revoke it first" in refused("tokens", "create", "bob", *where)
    assert re.fullmatch(r"df_\w{8}_\S{43}\n", told("tokens", "create", "eve", *where))
    assert asked("tokens", "revoke", "bob", *where)["revoked_by"]
    assert [t["name"] for t in asked("tokens", "list", *where)] == ["ann", "bob", "eve"]
    assert "viewer" in told("tokens", "list", *where)
    assert "no token" in refused("tokens", "revoke", "bob", *where)


def test_on_a_data_directory_with_an_audit(tmp_path: Path) -> None:
    where = ["--data", str(tmp_path / "data")]
    refused_before = runner.invoke(app, ["keys", "show", *where]).exception
    assert isinstance(refused_before, NotFound)
    public = asked("keys", "init", *where)["server"]
    assert asked("keys", "init", *where)["server"] == public
    life_of_a_key(where)
    assert "--role" not in told("tokens", "create", "ann", "--role", "operator", *where)
    life_of_a_token(where)
    assert asked("keys", "rotate-server", *where)["server"] != public
    storage = Storage(Settings(tmp_path / "data").database_url)
    lines, _ = storage.audit()
    storage.close()
    assert {line.who.partition(":")[0] for line in lines} == {"shell"}
    assert [line.operation for line in lines[::-1]] == [
        *("enrol_key", "rotate_key", "revoke_key", "revoke_key"),
        *("create_token", "create_token", "create_token", "revoke_token", "rotate_server"),
    ]
    assert lines[0].outcome == "done"


def test_enrolling_says_what_to_run_on_the_robot(tmp_path: Path) -> None:
    where = ["--data", str(tmp_path)]
    text = told("keys", "enrol", "arm", f"--key={OLD}", *where)
    public = asked("keys", "show", *where)["server"]
    assert "dreamfleet-robot enrol --name arm --server-key=" in text
    assert public in text
    assert "restart it" in text
    assert "restart it" not in told("keys", "enrol", "leg", f"--key={NEW}", *where)


def test_through_rest_with_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(tmp_path) as (_, address):
        where = ["--server", address]
        token = asked("tokens", "create", "ann", "--role", "operator", *where)["token"]
        assert "DREAMFLEET_TOKEN" in refused("keys", "list", *where)
        monkeypatch.setenv("DREAMFLEET_TOKEN", token)
        life_of_a_key(where)
        life_of_a_token(where)
        lines = asked("audit", *where)
        assert {line["who"] for line in lines} == {"loopback", "ann"}
        assert [x["id"] for x in asked("audit", "--offset=1", *where)] == [
            line["id"] for line in lines[1:]
        ]
        assert "refused" in told("audit", "--limit", "100", *where)
        viewer = asked("tokens", "create", "vic", *where)["token"]
        monkeypatch.setenv("DREAMFLEET_TOKEN", viewer)
        assert asked("experiments", "list", *where) == []
        new = ["experiments", "create", "one", "--agent", "random"]
        assert "viewer" in refused(*new, *where)
        told("tokens", "revoke", "vic", "--data", str(tmp_path))  # without asking the server
        assert "unknown or revoked" in refused("experiments", "list", *where)


def test_errors_are_one_line_even_when_a_key_looks_like_markup(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "server.cli", "keys", "enrol", "a", "--key=[/red]"]
    done = subprocess.run(
        [*command, "--data", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "[/red]" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_arguments_are_status_2(tmp_path: Path) -> None:
    for arguments in (
        ["tokens", "create", "ann", "--role", "root"],
        ["keys", "enrol", "arm"],
        ["keys", "rotate", "arm", f"--key={OLD}", "--overlap", "-1"],
        ["serve", "--ssl-keyfile", "x.pem"],
    ):
        assert runner.invoke(app, arguments).exit_code == 2


def test_a_first_token_for_a_viewer_is_refused(tmp_path: Path) -> None:
    result = runner.invoke(app, ["tokens", "create", "eve", "--data", str(tmp_path)])
    assert isinstance(result.exception, Conflict)


def certificate(folder: Path) -> list[str]:
    """Options of `serve` with a key and its self-signed certificate."""
    key, made = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run(
        [
            *command,
            "-keyout",
            str(key),
            "-out",
            str(made),
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )
    return ["--ssl-keyfile", str(key), "--ssl-certfile", str(made)]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_https_with_a_certificate(tmp_path: Path) -> None:
    options = certificate(tmp_path)
    with server(tmp_path / "data", *options) as (_, address):
        assert address.startswith("https://127.0.0.1:")
        trust = ssl.create_default_context(cafile=options[-1])
        answer = httpx.get(f"{address}/api/v1/health", verify=trust)
        assert answer.json()["status"] == "ok"
    command = [sys.executable, "-m", "server.cli", "serve", "--data", str(tmp_path / "data")]
    command += ["--port", "0", "--gateway", f"ipc://{tmp_path}/gateway", *options[:3], options[1]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "no key with its certificate" in done.stderr
