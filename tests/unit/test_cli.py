"""Every command of `dreamfleet`, once, against one server: what it prints, and its exit code."""

import importlib
import json
import re
import tomllib
from pathlib import Path
from typing import get_args

import httpx
import pytest
import typer
from typer.testing import CliRunner

from robot_client import keys
from robot_client.errors import DreamfleetError
from server.access import Role
from server.app import build_app
from server.cli import app
from server.commands import data, tokens
from server.commands.exits import exit_code
from server.datasets import lerobot, manifest
from tests.unit.command_names import NO_OPERATION, OPERATIONS
from tests.unit.furnished import CHECKPOINT, EXPORT, furnished
from tests.unit.house import in_house

runner = CliRunner()

# Command -> its arguments, and the address of what --json must print.
LOOKS = {
    "teleop get": ("ball-1", "/robots/ball-1/teleop"),
    "agents": ("", "/agents"),
    "agents list": ("", "/agents"),
    "agents get": ("fake", "/agents/fake"),
    "audit": ("--limit 1000", "/audit?limit=1000"),
    "checkpoints list": ("other", "/experiments/{stopped}/checkpoints"),
    "data list": ("", "/datasets"),
    "data get": ("ann", "/datasets/ann"),
    "data exports": ("", "/exports"),
    "data jobs": ("", "/jobs"),
    "episodes list": ("ball", "/experiments/{running}/episodes"),
    "episodes get": ("ball {episode}", "/experiments/{running}/episodes/{episode}"),
    "episodes signals": ("ball {episode}", "/experiments/{running}/episodes/{episode}/signals"),
    "evaluations list": ("ball", "/experiments/{running}/evaluations"),
    "evaluations get": ("ball 1", "/experiments/{running}/evaluations/1"),
    "events list": ("--experiment ball", "/events?experiment={running}&limit=50"),
    "experiments list": ("", "/experiments?limit=1000"),
    "experiments get": ("shown", "/experiments/{shown}"),
    "experiments events": ("ball", "/experiments/{running}/events"),
    "health": ("", "/health"),
    "keys list": ("", "/keys#robots"),
    "metrics query": ("ball --name loss", "/metrics?experiment={running}&name=loss"),
    "metrics names": ("ball", "/metrics/names?experiment={running}"),
    "policies list": ("{running}", "/experiments/{running}/policies"),
    "policies get": ("ball 2", "/experiments/{running}/policies/2"),
    "policies rollout": ("ball", "/experiments/{running}/rollout"),
    "ready": ("", "/ready"),
    "replay get": ("ball", "/experiments/{running}/replay"),
    "robots list": ("", "/robots"),
    "robots get": ("ball-1", "/robots/ball-1"),
    "robots command": ("1", "/commands/1"),
    "tokens list": ("", "/tokens"),
    "whoami": ("", "/whoami"),
}

# Command -> its arguments, and what must be in the JSON that it prints.
CHANGES = {
    "teleop release": ("ball-1", {"robot": "ball-1", "holder": None}),
    "checkpoints restore": (f"other {CHECKPOINT}", [{"number": CHECKPOINT, "aside": False}]),
    "data import": ("{data}/exports/" + EXPORT + " --name second", {"name": "second"}),
    "data verify": ("ann", {"name": "ann", "problems": []}),
    "data export": ("shown --format lerobot --out {out}", {"episodes": 5, "out": "{out}"}),
    "data download": (f"{EXPORT} --out {{out}}", {"id": EXPORT, "out": "{out}"}),
    "episodes mark": ("ball {episode} --outcome success", {"outcome": "success"}),
    "evaluations start": ("ball --episodes 2 --no-replay", {"state": "running", "replay": False}),
    "evaluations cancel": ("ball 1", {"state": "cancelled"}),
    "evaluations settings": ("ball", {"rollout": {"automatic": False}}),
    "experiments create": ("new --agent fake --notes hi --learner {{}}", {"notes": "hi"}),
    "experiments edit": ("other --notes changed", {"notes": "changed"}),
    "experiments duplicate": ("shown", {"name": "shown (copy)", "state": "created"}),
    "experiments start": ("ball", {"state": "running"}),
    "experiments pause": ("ball", {"state": "paused"}),
    "experiments resume": ("ball", {"state": "running"}),
    "experiments stop": ("other", {"state": "stopped"}),
    "keys enrol": ("arm --key={fresh}", {"robot": "arm", "valid": True}),
    "keys init": ("--data {out}", {}),
    "keys rotate": ("ball-1 --key={other_key} --overlap 1", {"robot": "ball-1"}),
    "keys rotate-server": ("--data {out}", {}),
    "keys show": ("", {}),
    "policies pin": ("ball 2", {"pinned": 2}),
    "policies promote": ("ball 2", {"pinned": 2, "canaries": {}}),
    "policies unpin": ("ball", {"pinned": None, "offered": 3}),
    "policies roll-back": ("ball", {"pinned": 2, "newest": 3}),
    "policies set-canary": ("ball ball-1 2", {"canaries": {"ball-1": 2}}),
    "policies end-canary": ("ball ball-1", {"canaries": {}}),
    "replay verify": ("ball", {"problems": []}),
    "robots assign": ("ball-1 ball", {"name": "ball-1"}),
    "robots delete": ("bal-1 --yes", None),
    "robots discard": ("ball-1", {"verb": "discard"}),
    "robots end-episode": ("ball-1", {"verb": "end_episode"}),
    "robots failure": ("ball-1", {"verb": "failure"}),
    "robots pause": ("ball-1", {"verb": "pause"}),
    "robots release": ("ball-1", {"verb": "release"}),
    "robots reset": ("ball-1", {"verb": "reset"}),
    "robots resume": ("ball-1", {"verb": "resume"}),
    "robots stop": ("ball-1", {"verb": "stop", "robot": "ball-1"}),
    "robots success": ("ball-1", {"verb": "success"}),
    "robots watch": ("--count 1", [{"name": "ball-1"}, {"name": "ball-2"}]),
    "events watch": ("--experiment ball --count 1", {"event": "robots"}),
    "metrics prometheus": ("", None),
    "tokens create": ("eve --role viewer", {"name": "eve", "role": "viewer"}),
    # What needs something to be there that the tests above look at comes last.
    "data job": ("{job}", {"state": "done"}),
    "data delete-export": (EXPORT, None),
    "data delete": ("second --yes", None),
    "experiments delete": ("doomed --yes", None),
    "keys revoke": ("arm", [{"robot": "arm", "valid": False}]),
    "tokens revoke": ("ann", {"name": "ann"}),
}

# Command -> its arguments, and the first bytes of the file that it writes.
FILES = {
    "episodes frame": ("ball {episode} camera 3", b"\x89PNG"),
    "episodes video": ("ball {episode} camera", b"\x89PNG"),
    "experiments report": ("ball", b"picture"),
    "metrics export": ("ball", b"name,time,updates,rows,value"),
    "policies download": ("ball 2", b"PK"),
    "robots camera": ("ball-1", b"\x89PNG"),
}

# Command -> the test that runs it, because it is no question to a server.
ELSEWHERE = {
    "policies compress": "tests.unit.test_rest_compression:test_the_commands_ask_and_show",
    "policies compression": "tests.unit.test_rest_compression:test_the_commands_ask_and_show",
    "serve": "tests.unit.test_server_cli:test_serve_answers_and_ends_cleanly",
    "demo": "tests.system.test_demo:test_it_ends_by_itself_with_a_summary",
    "train": "tests.unit.test_server_cli:test_train_hands_its_arguments_on",
    "teleop drive": "tests.unit.test_teleop_cli:test_a_terminal_drives_through_a_server",
    "keys admit": "tests.unit.test_admit:test_the_command_looks_once",
    "doctor": "tests.unit.test_doctor:test_a_healthy_place_is_fine_and_nothing_is_changed",
}


def commands_of(command, path=()):
    """The names of all commands, as they are typed."""
    below = getattr(command, "commands", {})
    if not below or command.invoke_without_command:
        yield " ".join(path)
    for name, one in below.items():
        yield from commands_of(one, (*path, name))


COMMANDS = sorted({*commands_of(typer.main.get_command(app))} - {""})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The address, headers, and names that the arguments use."""
    tmp_path = tmp_path_factory.mktemp("data")
    with furnished(tmp_path) as (address, headers, found):
        running, _, stopped = found["experiment"]
        names = {"running": running, "stopped": stopped, "shown": found["shown"][0]}
        names |= {"episode": found["episode"][0], "data": str(tmp_path)}
        new = {name: keys.generate().public for name in ("fresh", "other_key")}
        yield address, headers, names | new


@pytest.fixture(autouse=True)
def _environment(request, monkeypatch):
    if "place" in request.fixturenames:
        address, headers, _ = request.getfixturevalue("place")
        monkeypatch.setenv("DREAMFLEET_SERVER", address)
        monkeypatch.setenv("DREAMFLEET_TOKEN", headers["Authorization"].split()[1])
    monkeypatch.setenv("COLUMNS", "250")


def typed(command, arguments="", **names):
    """What running a command line gives; its errors are its exit code."""
    words = [word.format(**names) for word in f"{command} {arguments}".split()]
    result = runner.invoke(app, words)
    if isinstance(result.exception, DreamfleetError):
        result.exit_code = exit_code(result.exception)
    return result


def fine(*words, **names):
    result = typed(*words, **names)
    assert result.exit_code == 0, f"{result.output} {result.exception}"
    return result


def steady(value):
    """Without what changes from one question to the next."""
    if isinstance(value, list):
        return [steady(each) for each in value]
    if isinstance(value, dict):
        moving = ("policy_age_s", "silent_s", "used_at")
        return {k: steady(each) for k, each in value.items() if k not in moving}
    return value


def holds(found, expected):
    """Whether what was found has everything that is expected."""
    if isinstance(expected, dict):
        return all(name in found and holds(found[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        pairs = zip(found, expected, strict=True)
        return len(found) == len(expected) and all(holds(a, b) for a, b in pairs)
    return found == expected


@pytest.mark.parametrize("command", LOOKS)
def test_json_is_what_rest_answers_and_without_it_there_is_text(place, command):
    address, headers, names = place
    arguments, path = LOOKS[command]
    path, _, part = path.format(**names).partition("#")
    said = fine(command, f"{arguments} --json", **names)
    answer = httpx.get(f"{address}/api/v1{path}", headers=headers).json()
    answer = answer[part] if part else answer
    items = answer["items"] if isinstance(answer, dict) and "items" in answer else answer
    assert steady(json.loads(said.stdout)) == steady(items)
    assert fine(command, arguments, **names).stdout.strip()


@pytest.mark.parametrize("command", CHANGES)
def test_a_change_prints_what_has_become(place, command, tmp_path):
    _, _, names = place
    arguments, expected = CHANGES[command]
    out = str(tmp_path / "out")
    if "{job}" in arguments:
        (*_, last) = json.loads(fine("data jobs --json").stdout)
        names = names | {"job": last["id"]}
    said = fine(command, f"{arguments} --json", out=out, **names)
    found = json.loads(said.stdout)
    if isinstance(expected, dict):
        expected = {k: out if v == "{out}" else v for k, v in expected.items()}
    if expected is None and command != "metrics prometheus":
        assert found is None
    assert expected is None or holds(found, expected), found


@pytest.mark.parametrize("command", FILES)
def test_a_file_is_there_as_a_whole_and_not_written_over(place, command, tmp_path):
    arguments, begin = FILES[command]
    out, names = tmp_path / "out", place[2]
    said = fine(command, f"{arguments} --out {out} --json", **names)
    assert json.loads(said.stdout) == {"out": str(out), "bytes": out.stat().st_size}
    assert out.read_bytes().startswith(begin)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert typed(command, f"{arguments} --out {out}", **names).exit_code == 2


def test_every_command_has_a_test():
    rows = [*LOOKS, *CHANGES, *FILES, *ELSEWHERE]
    assert sorted(rows) == COMMANDS
    for where in ELSEWHERE.values():
        module, _, name = where.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_every_operation_has_a_command_and_every_command_an_operation(tmp_path):
    async def act(house):
        return build_app(house.service).openapi()

    document = in_house(tmp_path, act)
    operations = {o["operationId"] for item in document["paths"].values() for o in item.values()}
    assert operations == set(OPERATIONS)
    named = {
        command
        for text in filter(None, OPERATIONS.values())
        for command in (text.split("|") and alternatives(text))
    }
    assert named | NO_OPERATION == set(COMMANDS)


def alternatives(text):
    """`a b|c` is `a b` and `a c`; `a|b c` is `a c` and `b c`."""
    groups = [word.split("|") for word in text.split()]
    found = [""]
    for group in groups:
        found = [f"{before} {word}".strip() for before in found for word in group]
    return found


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("experiments get nothing", 5, "no experiment 'nothing'"),
        ("robots get nobody", 5, "nobody"),
        ("data job nothing", 5, "nothing"),
        ("experiments resume other", 1, "cannot resume"),
        ("experiments pause twin", 1, "2 experiments are called 'twin'"),
        ("experiments create x --agent bogus", 1, "agent"),
        ("experiments create x --config [", 2, "not JSON"),
        ("experiments create x --learner 3", 2, "not a JSON object"),
        ("experiments edit ball", 2, "--name or --notes"),
        ("experiments delete ball", 1, "Abort"),
        ("experiments bogus", 2, "No such command"),
        ("episodes mark ball x", 2, "--outcome"),
        ("robots stop ball-1 --wait 0.2", 1, "within 0.2 s"),
        ("health --server http://127.0.0.1:9", 3, "start one: dreamfleet serve"),
        ("health --server nonsense", 2, "http://"),
        ("metrics query ball --points 0", 2, "points"),
    ],
)
def test_what_goes_wrong_has_its_exit_code(place, arguments, code, words):
    if "twin" in arguments:
        for _ in range(2):
            fine("experiments create twin --agent fake")
    result = typed(arguments)
    assert result.exit_code == code, result.output
    assert words in re.sub(r"\s+", " ", f"{result.output} {result.exception}")


def test_a_token_that_does_not_do_has_its_exit_code(place, monkeypatch):
    viewer = json.loads(fine("tokens create vic --json").stdout)["token"]
    monkeypatch.setenv("DREAMFLEET_TOKEN", viewer)
    assert typed("robots stop ball-1").exit_code == 4
    monkeypatch.delenv("DREAMFLEET_TOKEN")
    result = typed("robots list")
    assert result.exit_code == 4
    assert "DREAMFLEET_TOKEN" in str(result.exception)


def test_robots_are_watched_in_a_table(place):
    assert "ball-1" in fine("robots watch --count 1").stdout


def test_a_long_list_says_where_it_goes_on(place):
    said = fine("experiments list --limit 1")
    assert re.search(r"1 of \d+; go on with --offset 1", said.stderr)
    assert len(json.loads(fine("experiments list --limit 1 --json").stdout)) == 1


def completed(shell, words, monkeypatch):
    """What a shell is told to offer for the last word."""
    monkeypatch.setenv("_DREAMFLEET_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    return runner.invoke(app, [], prog_name="dreamfleet").stdout.split("\n")


def test_names_are_completed_from_a_server_and_silence_from_none(place, monkeypatch):
    names = completed("bash", ["dreamfleet", "experiments", "get", "sho"], monkeypatch)
    assert "shown" in names
    assert "ball-1" in completed("bash", ["dreamfleet", "robots", "stop", ""], monkeypatch)
    assert "fake" in completed("bash", ["dreamfleet", "agents", "get", "f"], monkeypatch)
    assert "ann" in completed("bash", ["dreamfleet", "data", "get", ""], monkeypatch)
    monkeypatch.setenv("DREAMFLEET_SERVER", "http://127.0.0.1:9")
    assert not any(completed("bash", ["dreamfleet", "robots", "stop", ""], monkeypatch))
    monkeypatch.setenv("DREAMFLEET_SERVER", "nonsense")
    assert not any(completed("bash", ["dreamfleet", "robots", "stop", ""], monkeypatch))


@pytest.mark.parametrize(
    ("shell", "word"),
    [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --command")],
)
def test_there_is_a_completion_script_for(shell, word, monkeypatch):
    monkeypatch.setenv("_DREAMFLEET_COMPLETE", f"source_{shell}")
    script = runner.invoke(app, [], prog_name="dreamfleet").stdout
    assert word in script
    assert f"complete_{shell}" in script


def test_the_words_that_are_written_twice_are_the_same():
    assert get_args(tokens.Role) == get_args(Role)
    assert get_args(data.Images) == get_args(lerobot.Images)
    assert get_args(data.FormatName) == get_args(manifest.FormatName)
    assert data.MARKS[0] == manifest.FILE


def test_the_command_starts_without_what_only_some_commands_need():
    import subprocess
    import sys

    heavy = ["fastapi", "sqlalchemy", "alembic", "uvicorn", "lmdb", "pydantic", "numpy", "httpx"]
    code = f"import sys, server.cli; print([m for m in {heavy} if m in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    scripts = tomllib.loads((root / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["dreamfleet"] == "server.__main__:main"
