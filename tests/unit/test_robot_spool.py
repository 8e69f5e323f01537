"""`dreamfleet-robot spool` and `completion`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_client.cli import main
from robot_client.spool import Spool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A spool in which 12 rows of two episodes wait."""
    spool = Spool(tmp_path / "spool", task="roll")
    for seq in range(12):
        ends = seq in (6, 11)
        row = {"reward": np.float32(seq), "is_last": np.asarray(ends)}
        spool.append(int(seq > 6), {k: np.asarray(v) for k, v in row.items()})
    spool.close()
    return tmp_path / "spool"


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:
    assert main(["spool", "--json", *arguments]) == status
    return json.loads(capsys.readouterr().out)


def test_what_waits_is_listed_and_whole(folder: Path, capsys: Any) -> None:
    assert said(capsys, str(folder))["rows"] == 12
    found = said(capsys, str(folder), "--verify")
    assert (found["rows"], found["problems"]) == (12, [])


def test_a_damaged_row_is_found_and_left_as_it_is(folder: Path, capsys: Any) -> None:
    (segment,) = folder.glob("*.rows")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 255
    segment.write_bytes(data)
    found = said(capsys, str(folder), "--verify", status=1)
    assert found["rows"] == 4
    assert found["problems"] == [f"{segment.name}: the last 162 bytes cannot be read"]
    assert segment.read_bytes() == data


def test_rows_are_exported_as_they_are_and_stay(folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    found = said(capsys, str(folder), "--export", str(out))
    assert [(c["episode"], c["task"], c["rows"]) for c in found["chunks"]] == [
        (0, "roll", 7),
        (1, "roll", 5),
    ]
    values = [np.load(out / c["file"], allow_pickle=False)["reward"] for c in found["chunks"]]
    np.testing.assert_array_equal(np.concatenate(values), np.arange(12, dtype=np.float32))
    assert json.loads((out / "spool.json").read_text())["epoch"] == found["epoch"]
    assert said(capsys, str(folder))["rows"] == 12
    assert main(["spool", str(folder), "--export", str(out)]) == 1


def test_rows_are_given_up_only_by_who_knows_how_many(folder: Path, capsys: Any) -> None:
    before = said(capsys, str(folder))
    assert main(["spool", str(folder), "--discard", "11"]) == 1
    assert "12 rows wait, not 11" in capsys.readouterr().err
    assert said(capsys, str(folder)) == before
    assert said(capsys, str(folder), "--discard", "12")["discarded"] == 12
    after = said(capsys, str(folder))
    assert (after["rows"], after["first_seq"]) == (0, 0)
    assert after["epoch"] != before["epoch"]
    spool = Spool(folder)
    assert spool.next_episode == 2  # numbered on
    spool.close()


@pytest.mark.parametrize("more", [["--discard", "3"], ["--export", "x"]])
def test_what_changes_something_must_say_where(more: list[str], capsys: Any) -> None:
    assert main(["spool", *more]) == 1
    assert "which directory" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_script_for(shell: str, capsys: Any) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "dreamfleet-robot" in script
    assert "pointmass" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_completes_commands_options_and_robots(tmp_path: Path, capsys: Any) -> None:
    main(["completion", "bash"])
    (tmp_path / "script").write_text(capsys.readouterr().out)
    for words, expected in (
        (["dreamfleet-robot", "do"], "doctor"),
        (["dreamfleet-robot", "run", "point"], "pointmass"),
        (["dreamfleet-robot", "spool", "--ver"], "--verify"),
        (["dreamfleet-robot", "completion", "z"], "zsh"),
    ):
        typed = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}"
        run = f"source {tmp_path}/script; {typed}; _dreamfleet_robot; echo ${{COMPREPLY[@]}}"
        done = subprocess.run(["bash", "-c", run], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected
