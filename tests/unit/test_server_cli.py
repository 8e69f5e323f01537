"""The command line, against a real server in a process of its own."""

import json
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from server.access import refuse_open_doors
from server.app import listen
from server.cli import app
from server.errors import ServerError, SettingsError
from server.settings import Settings

runner = CliRunner()


@contextmanager
def server(data, *options):
    """Yields the process and its address."""
    arguments = ["serve", "--data", str(data), "--port", "0", "--gateway", f"ipc://{data}/gateway"]
    arguments += options
    process = subprocess.Popen(
        [sys.executable, "-m", "server.cli", *arguments], stderr=subprocess.PIPE, text=True
    )
    try:
        found = re.search(r"https?://\S+?(?=,)", process.stderr.readline())
        yield process, found[0]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def ask(address, *arguments):
    result = runner.invoke(app, [*arguments, "--server", address, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_answers_and_ends_cleanly(tmp_path, number):
    pytest.importorskip("agents.random")
    with server(tmp_path) as (process, address):
        made = ask(address, "experiments", "create", "one", "--agent", "random", "--start")
        assert (made["state"], made["agent"]) == ("running", "random")
        assert ask(address, "experiments", "list") == [made]
        assert ask(address, "experiments", "stop", made["id"])["state"] == "stopped"
        process.send_signal(number)
        assert process.wait(60) == 0


def test_agents_and_wrong_settings_come_from_the_agents_themselves(tmp_path):
    pytest.importorskip("agents.random")
    with server(tmp_path) as (_, address):
        agents = {agent["name"]: agent for agent in ask(address, "agents")}
        assert agents["random"]["config_schema"]["type"] == "object"
        wrong = ["experiments", "create", "x", "--agent", "random", "--config", '{"bogus": 1}']
        result = runner.invoke(app, [*wrong, "--server", address])
        assert isinstance(result.exception, ServerError)
        assert "config.bogus" in str(result.exception)
        result = runner.invoke(app, ["agents", "--server", address])
        assert "random" in result.stdout
        unknown = ["experiments", "create", "x", "--agent", "dreemer", "--server", address]
        assert "did you mean 'dreamer'" in str(runner.invoke(app, unknown).exception)
        missing = runner.invoke(app, ["experiments", "get", "nope", "--server", address])
        assert str(missing.exception) == "no experiment 'nope'"


@pytest.mark.parametrize(
    "where",
    [
        {"host": "0.0.0.0"},
        {"host": "192.168.1.4"},
        {"gateway": "tcp://0.0.0.0:5555"},
        {"gateway": "tcp://*:5555"},
        {"host": "::"},
    ],
)
def test_open_doors_are_refused_with_advice(tmp_path, where):
    with pytest.raises(SettingsError, match="refusing to listen"):
        refuse_open_doors(Settings(tmp_path, **where))


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"host": "localhost"},
        {"host": "::1"},
        {"gateway": "ipc:///tmp/x"},
        {"host": "127.0.1.1"},
    ],
)
def test_loopback_is_fine(tmp_path, where):
    refuse_open_doors(Settings(tmp_path, **where))


def test_an_address_without_its_transport_is_told_what_lacks(tmp_path):
    with pytest.raises(SettingsError, match=r"write tcp://127\.0\.0\.1:5556"):
        refuse_open_doors(Settings(tmp_path, gateway="127.0.0.1:5556"))


def test_the_data_directory_is_absolute_whoever_asks_from_wherever(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    monkeypatch.chdir("/")
    assert settings.data == tmp_path / "dreamfleet-data"
    assert settings.experiment_dir("x").is_relative_to(tmp_path)
    assert str(tmp_path) in settings.database_url


def test_errors_are_one_line_and_an_exit_code(tmp_path):
    command = [sys.executable, "-m", "server.cli"]
    for arguments, words, code in (
        (["serve", "--host", "0.0.0.0", "--data", str(tmp_path)], "refusing to listen", 1),
        (["agents", "--server", "http://127.0.0.1:9"], "start one: dreamfleet serve", 3),
    ):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_train_without_lockstep_says_what_to_do():
    result = runner.invoke(app, ["train", "--agent", "random"])
    assert result.exit_code == 2
    assert "--lockstep" in result.output


def test_train_hands_its_arguments_on(monkeypatch):
    ran = []
    monkeypatch.setattr("os.execv", lambda program, arguments: ran.append(arguments[1:]))
    runner.invoke(app, ["train", "--lockstep", "--agent", "random", "--seed", "0"])
    assert ran == [["-m", "server.train", "--agent", "random", "--seed", "0"]]


def test_an_answer_does_not_wait_for_the_clients_acknowledgement(tmp_path):
    with (
        listen(Settings(tmp_path, port=0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_taken_port_is_an_error_that_says_so(tmp_path):
    with server(tmp_path) as (_, address):
        port = address.rpartition(":")[2]
        command = [sys.executable, "-m", "server.cli", "serve", "--port", port]
        command += ["--data", str(tmp_path / "two"), "--gateway", f"ipc://{tmp_path}/two.ipc"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "choose another with --port" in done.stderr


def test_a_second_server_on_the_same_data_is_refused(tmp_path):
    with server(tmp_path):
        command = [sys.executable, "-m", "server.cli", "serve", "--data", str(tmp_path)]
        second = subprocess.run(
            [*command, "--port", "0", "--gateway", f"ipc://{tmp_path}/second"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert second.returncode != 0
    assert "another server is working on" in second.stderr
