"""Plain mistakes at the command line: one clear line, and an exit code."""

import asyncio
import io
import os
import signal
import subprocess
import sys

import pytest
from rich.console import Console
from typer.testing import CliRunner

from robot_client.clock import ManualClock
from robot_client.messages import Event
from server.cli import app
from server.commands.output import print_table, table_of
from server.demo import refuse_wrong
from server.episodes import kind_of
from server.errors import Invalid, SettingsError
from server.progress import Progress, Standing
from server.service import run_service
from server.settings import Settings
from server.shutdown import stop_signal, unless
from server.train import main as train
from server.training import pick_device

# As somebody presses Ctrl-C while the command line is loaded.
EARLY = """
import os, signal, sys
class Slow:
    def find_spec(self, name, *_):
        if name == "server.cli":
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
sys.meta_path.insert(0, Slow())
from server.__main__ import main
main()
"""


def test_ctrl_c_while_it_is_loaded_is_an_exit_code():
    done = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"")


@pytest.mark.parametrize("command", ["serve", "demo", "doctor"])
def test_a_port_that_cannot_be_is_wrong_usage(command):
    result = CliRunner().invoke(app, [command, "--port", "80000"])
    assert result.exit_code == 2
    assert "--port" in result.output


@pytest.mark.parametrize("data", ["file", "file/below"])
def test_data_that_is_no_folder_is_refused(tmp_path, data):
    (tmp_path / "file").touch()

    async def opened():
        async with run_service(Settings(tmp_path / data)):
            pass

    with pytest.raises(SettingsError, match="--data: expected a folder that can be written, got"):
        asyncio.run(opened())


def test_a_port_for_robots_that_cannot_be_is_refused(tmp_path):
    async def opened():  # ZeroMQ alone would listen on 34463
        async with run_service(Settings(tmp_path, gateway="tcp://127.0.0.1:99999")):
            pass

    with pytest.raises(SettingsError, match="expected a port up to 65535, got 99999"):
        asyncio.run(opened())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("--steps -4", 2, "--steps: expected a whole number, 1 or more, got -4"),
        ("--seed x", 2, "--seed: expected a whole number, 0 or more and below 4294967296, got x"),
        ("--train-ratio 0", 2, "--train-ratio: expected a number above 0, got 0"),
        (
            "--config [1]",
            2,
            """--config: expected a JSON object such as '{"seed": 3}'; got '[1]'""",
        ),
        ('--agent random --config {"a":1}', 2, "config.a: expected"),
        ("--agent random --device nothing", 2, "device: expected one that torch can use here"),
        ("--agent nope", 1, "no agent 'nope'"),
        ("--agent random --robot counting --out {file}", 1, "--out: expected a folder to write"),
    ],
)
def test_training_says_in_a_line_what_is_wrong(tmp_path, capsys, arguments, code, words):
    (tmp_path / "file").touch()
    try:
        got = train([a.replace("{file}", str(tmp_path / "file")) for a in arguments.split()])
    except SystemExit as ended:
        got = ended.code
    said = capsys.readouterr()
    assert (got, said.out) == (code, "")
    assert words in said.err.splitlines()[-1]


def test_a_device_that_is_not_here_is_refused(monkeypatch):
    def away(*_, **__):
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr("torch.empty", away)
    with pytest.raises(Invalid, match=r"device: .* got cuda"):
        pick_device("cuda")


def test_training_tells_how_far_it_is_and_what_is_kept(tmp_path):
    said, clock = io.StringIO(), ManualClock()
    console = Console(file=said, width=2000)
    progress = Progress(100, 2, tmp_path, console, clock)
    progress.__enter__()
    progress.show(Standing(10, 3, -1.5, 0))
    clock.advance(6.0)
    progress.show(Standing(20, 6, -1.25, 0))
    progress.show(Standing(30, 9, -1.0, 0))
    progress.broken_off()
    where, line, end = said.getvalue().splitlines()
    assert f"{tmp_path}/metrics.jsonl" in where
    assert line == "20 of 100 rows, 6 updates, last returns -1.25"
    assert end.startswith("broken off: 30 of 100 rows")
    assert str(tmp_path) in end


@pytest.mark.parametrize(("robot", "speed"), [("bal", "20"), ("ball", "fast"), ("ball", "-1")])
def test_a_demo_of_nothing_begins_with_nothing(robot, speed):
    with pytest.raises(Invalid):
        refuse_wrong(robot, speed)
    result = CliRunner().invoke(app, ["demo", "--robot", robot, "--speed", speed])
    assert result.exit_code == 2
    assert "expected" in result.output


def test_an_address_without_its_scheme_is_named():
    result = CliRunner().invoke(app, ["agents", "--server", "127.0.0.1:8000"])
    assert result.exit_code == 2
    assert "http://" in result.output
    assert "start one" not in result.output


def test_ctrl_c_is_answered_at_once_and_breaks_off_what_takes_long():
    async def scenario():
        said = []
        stop = stop_signal(lambda: said.append("stopping"))
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        found = await asyncio.wait_for(unless(stop, asyncio.sleep(60, "done")), 30)
        return said, found, await unless(asyncio.Event(), asyncio.sleep(0, "done"))

    assert asyncio.run(scenario()) == (["stopping"], None, "done")


LONG = "ball-1-0123456789abcdef0123456789abcdef0123456789abcdef-17"
ROW = [LONG, "-12.50", 200, "2026-11-23 14:28", "0-14", "ball-1"]
HEADINGS = ["id", "return", "steps", "ended", "policy", "robot"]


def test_an_id_is_whole_where_the_terminal_is_narrow():
    drawn = io.StringIO()
    Console(file=drawn, width=80).print(table_of(HEADINGS, [ROW], 80))
    assert LONG in drawn.getvalue()
    assert "return" in drawn.getvalue()
    assert "robot" not in drawn.getvalue()
    assert len(table_of(HEADINGS, [ROW], 200).columns) == len(HEADINGS)


def test_what_goes_into_a_file_is_never_narrowed(capsys):
    print_table(HEADINGS, [ROW])
    said = capsys.readouterr()
    assert all(str(cell) in said.out for cell in ROW)
    assert said.err == ""


def test_to_wait_is_no_matter_of_safety():
    assert kind_of(Event("safety", "stop: there is no policy yet")) == "waiting"
    assert kind_of(Event("safety", "stop: the camera is silent")) == "safety"
