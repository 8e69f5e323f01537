from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

import robot_client.command_line
from robot_client.cli import main
from robot_client.halting import halted_by_signals
from robot_client.policy_cache import PolicyCache
from robot_client.robots import make_robot
from robot_client.schema import Source
from robot_client.spool import Spool
from tests.unit.policies import ACTIONS, bundle, graph, weights
from tests.unit.test_runtime import Arm

CLOSED = "tcp://127.0.0.1:9"  # nobody answers there
SPEC = "tests.unit.test_robot_cli:Vector"
REPOSITORY = Path(__file__).parents[2]


class Vector:
    """The robot that the hand-made policy fits."""

    def __new__(cls) -> object:
        from tests.unit.control import Arm

        return Arm(steps=5)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def fill_cache(directory: Path, robot: object) -> None:
    cache = PolicyCache(directory, robot.observation_space, robot.action_space)  # type: ignore[attr-defined]
    sent = bundle(4, graph_bytes=graph(), tensors=weights())
    for digest, _ in cache.offered(sent.manifest):
        cache.received(digest, sent.blobs[digest])
    cache.complete(sent.manifest)


def arguments(tmp_path: Path, *more: str) -> list[str]:
    folders = ["--spool", str(tmp_path / "spool"), "--cache", str(tmp_path / "cache")]
    return ["run", SPEC, "--server", CLOSED, *folders, "--speed", "max", "--json", *more]


def test_it_acts_from_its_cache_with_no_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_cache(tmp_path / "cache", make_robot(SPEC))
    assert main(arguments(tmp_path, "--episodes", "2", "--eval")) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["episode"]["policy_version"] for line in lines[:2]] == [4, 4]
    assert lines[2]["summary"]["rows"] == 12
    assert main(["spool", "--json", str(tmp_path / "spool")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["first_seq"], found["next_seq"], found["rows"]) == (0, 12, 12)
    spool = Spool(tmp_path / "spool")
    assert spool.epoch == found["epoch"]
    chunk = spool.read(0)
    assert chunk is not None
    assert chunk.task == make_robot(SPEC).task.name
    assert chunk.columns["is_first"].tolist() == [True] + [False] * 5
    assert chunk.columns["source"].tolist() == [Source.POLICY] * 6
    np.testing.assert_allclose(chunk.columns["action"][0], [0.3, 0.3], rtol=1e-6)
    spool.close()


def test_people_get_lines_with_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill_cache(tmp_path / "cache", make_robot(SPEC))
    argv = [a for a in arguments(tmp_path, "--episodes", "1", "--eval") if a != "--json"]
    assert main([*argv, "--plan", '{"horizon": 5}']) == 0
    said = capsys.readouterr()
    first, summary, latency, *_ = said.out.splitlines()
    assert first == "episode 0: 5 steps, return 6.0, policy 4, time limit"
    assert summary == "1 episode, 5 steps, 6 rows recorded; 1 policy taken up; 0 ticks missed"
    assert latency.startswith("choosing an action took ")
    assert " ms, and " in latency
    told = [line.removeprefix("dreamfleet-robot: ") for line in said.err.splitlines()]
    assert "the first policy is here: version 4" in told[0]
    assert "--plan has no effect" in told[0]
    assert told[1].startswith(f"no server at {CLOSED} has answered: nobody listens there")
    assert told[1].endswith("acting on with version 4")
    assert told[2].startswith("6 rows are on this disk and not yet delivered")
    assert len(told) == 3


def test_a_policy_that_cannot_plan_is_not_run_as_a_planner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_cache(tmp_path / "cache", make_robot(SPEC))
    built: list[PolicyCache] = []
    original = PolicyCache.build_newest

    def build(cache: PolicyCache) -> None:
        original(cache)
        built.append(cache)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(PolicyCache, "build_newest", build)
    assert main(arguments(tmp_path, "--act", "planner", "--plan", '{"horizon": 5}')) == 0
    assert built[0].take() is None
    later = PolicyCache(tmp_path / "cache", make_robot(SPEC).observation_space, ACTIONS)
    original(later)
    assert later.take() is not None


def test_spool_without_a_folder_lists_every_robot_of_this_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["spool"]) == 1
    assert "no robot has left a spool" in capsys.readouterr().err
    left, used = (tmp_path / ".dreamfleet" / name / "spool" for name in ("a", "b"))
    Spool(left).close()
    spool = Spool(used)
    for seq in range(12):
        spool.append(0, {"reward": np.asarray(seq, np.float32)})
    spool.ack(7)
    assert main(["spool", "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["directory"], first["rows"], first["in_use"]) == (str(left), 0, False)
    assert (second["directory"], second["rows"], second["in_use"]) == (str(used), 5, True)
    assert main(["spool", str(used), "--verify"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{used}: 5 rows to be delivered; a robot is using it",
        "  numbers 7 to 11; 0.2 kB on disk",
        "  every row is whole",
    ]
    assert main(["spool", str(used), "--discard", "5"]) == 1
    assert "another robot process uses this spool; stop it first" in capsys.readouterr().err
    assert spool.append(0, {"reward": np.asarray(12, np.float32)}) == 12  # nothing was mended
    spool.close()
    assert main(["spool", str(left)]) == 0
    assert capsys.readouterr().out == f"{left}: nothing to be delivered\n"


def test_check_says_whether(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "gym:CartPole-v1"]) == 0
    assert "keeps the contract" in capsys.readouterr().out
    assert main(["check", "counting", "--unseeded", "--options", '{"action": "box"}']) == 0
    assert main(["check", "counting"]) == 1
    assert "reset(0) twice" in capsys.readouterr().err
    assert main(["check", "counting", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["robot"], found["keeps_contract"]) == ("counting", False)
    assert "reset(0) twice" in found["problem"]
    assert main(["check", "gym:CartPole-v1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["keeps_contract"]


def test_a_robot_can_be_fitted_to_others(capsys: pytest.CaptureFixture[str]) -> None:
    others = ["--fit", "gym:Pendulum-v1", "--fit", 'pointmass {"dims": 1}']
    assert main(["check", "pointmass", *others]) == 0
    assert "keeps the contract" in capsys.readouterr().out
    assert main(["check", "pointmass", "--fit", "gym:CartPole-v1"]) == 1
    assert "action_space: expected Box of all robots" in capsys.readouterr().err


def test_a_robot_may_be_in_a_file_of_the_present_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from robot_client.robots.counting import CountingRobot as Mine\n"
    (tmp_path / "mine_of_this_folder.py").write_text(text)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["check", "mine_of_this_folder:Mine"]) == 1
    monkeypatch.chdir(tmp_path)
    assert main(["check", "mine_of_this_folder:Mine", "--unseeded"]) == 0
    assert "keeps the contract" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["check", "nothing"], "no robot 'nothing'"),
        (["check", "counting {"], "not JSON"),
        (["check", "counting 3"], "not a JSON object"),
        (["spool", "/no/such/place"], "there is no spool"),
        (["run", SPEC, "--server", "tcp://192.0.2.1:5555"], "key"),
        (["run", SPEC, "--key", "a.key"], "go together"),
    ],
)
def test_an_error_is_one_line(
    argv: list[str],
    why: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(argv) == 1
    err = capsys.readouterr().err
    assert err.startswith("dreamfleet-robot: ")
    assert why in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["run", SPEC, "--speed", "0"],
        ["check", "x", "--options", "3"],
        ["run", SPEC, "--act", "x"],
    ],
)
def test_a_wrong_argument_is_a_usage_error(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_episode_and_the_run(tmp_path: Path, number: int) -> None:
    fill_cache(tmp_path / "cache", make_robot(SPEC))
    process = subprocess.Popen(
        [sys.executable, "-m", "robot_client.cli", *arguments(tmp_path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        assert "episode" in process.stdout.readline()
        process.send_signal(number)
        last = process.stdout.readlines()[-1]
    assert process.wait() == 0
    assert json.loads(last)["summary"]["episodes"] >= 1


def test_it_stops_when_its_parent_dies(tmp_path: Path) -> None:
    fill_cache(tmp_path / "cache", make_robot(SPEC))
    child = [sys.executable, "-m", "robot_client.cli", *arguments(tmp_path, "--with-parent")]
    parent = (
        "import subprocess, sys, threading\n"
        "out = open(sys.argv[1], 'w')\n"  # a file: a broken pipe would end the child too
        "child = subprocess.Popen(sys.argv[2:], stdout=out)\n"
        "while not open(sys.argv[1]).read(): threading.Event().wait(0.05)\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent, str(tmp_path / "out"), *child],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout:
        watch = os.pidfd_open(int(process.stdout.readline()))
    process.kill()
    process.wait()
    try:
        gone, _, _ = select.select([watch], [], [], 60)
        assert gone
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(watch, signal.SIGKILL)
        os.close(watch)
    assert "summary" in (tmp_path / "out").read_text()


def test_the_command_line_starts_light() -> None:
    heavy = ["onnxruntime", "torch", "fastapi", "pybullet", "zmq", "sim", "server"]
    code = f"import sys, robot_client.command_line; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_second_signal_breaks_off_what_runs_by_way_of_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = Arm()

    def reset(seed: int | None) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    robot.hooks["reset"] = reset
    monkeypatch.setattr(robot_client.command_line, "make_robot", lambda *_: robot)
    fill_cache(tmp_path / "cache", robot)
    assert main(arguments(tmp_path)) == 130
    assert robot.calls[-3:] == ["reset", "stop", "close"]


def test_a_signal_that_comes_while_the_event_is_looked_at_is_not_waited_for() -> None:
    """As if it came within `wait`, which holds the lock of a common event at moments."""
    halted = halted_by_signals()
    with halted._cond:
        signal.raise_signal(signal.SIGTERM)
    assert halted.wait(60)


def test_a_parent_that_died_before_the_watch_began_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", Mock())  # nobody is to end these tests
    parent = os.getppid()
    assert not halted_by_signals(parent).wait(0.1)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert halted_by_signals(parent).is_set()
    assert not halted_by_signals().is_set()
