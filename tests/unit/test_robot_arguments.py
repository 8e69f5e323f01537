"""What the robot's command line takes and refuses, and in which words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from robot_client import arguments
from robot_client.cli import main
from robot_client.names import NAME_RULE, robot_name


@pytest.mark.parametrize("command", [["run", "counting"], ["doctor"], ["enrol"]])
@pytest.mark.parametrize(
    "name", ["../../x", "..", ".x", "-x", "a/b", "a\\b", "", "x" * 65, "x ", "ä"]
)
def test_a_name_that_is_no_folder_and_no_part_of_a_url_is_refused(
    command: list[str],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SystemExit) as left:
        main([*command, f"--name={name}"])
    assert left.value.code == 2
    assert f"--name: expected {NAME_RULE}; got {name!r}" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["ball", "arm 1", "robot-1.local", "_7", "x" * 64])
def test_a_name_that_is_both_is_taken(name: str) -> None:
    assert robot_name(name) == name


def test_the_rule_for_names_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert NAME_RULE in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--speed", "-3", "expected a number above 0, or max; got '-3'"),
        ("--speed", "fast", "expected a number above 0, or max; got 'fast'"),
        ("--options", "3", "expected a JSON object"),
        ("--options", "{seed", "which is not JSON"),
        ("--plan", '{"metod": "icem"}', "no plan setting is called 'metod'; there are method,"),
        ("--plan", '{"method": "x"}', "method: expected one of"),
        ("--plan", '{"elites": 9, "candidates": 8}', "elites: expected int in 1..8, got 9"),
        ("--steps", "-5", "expected a whole number from 1 on; got '-5'"),
        ("--hold-after", "no", "expected a number of seconds above 0; got 'no'"),
        ("--seed", "-1", "expected a whole number from 0 on; got '-1'"),
    ],
)
def test_a_wrong_value_is_said_in_words(
    option: str, value: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["run", "counting", f"{option}={value}"])
    assert left.value.code == 2
    assert f"argument {option}: " in (err := capsys.readouterr().err)
    assert why in err


@pytest.mark.parametrize("value", ['{"candidates": 64}', '{"elites": 64, "method": "icem"}'])
def test_a_plan_setting_that_some_policy_can_take_is_taken(value: str) -> None:
    assert arguments.plan(value) == json.loads(value)


@pytest.mark.parametrize(
    "what", ["press()", "\n            try: press()\n            finally: raise ImportError"]
)
def test_ctrl_c_while_it_starts_is_130_and_no_traceback(what: str) -> None:
    # An interrupt at the import of what the commands need.
    code = (
        "import sys, signal\n"
        "def press(): signal.raise_signal(signal.SIGINT)\n"
        "class Press:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == 'numpy': {what}\n"
        "from robot_client.cli import main\n"
        "sys.meta_path.insert(0, Press())\n"
        "sys.exit(main(['run', 'ball']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
