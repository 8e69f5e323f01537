"""`dreamfleet-robot spool` and `completion`."""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_client.cli import main
from robot_client.salvage import rows_of, salvage
from robot_client.segments import Segment
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


def damaged(folder: Path, *places: int) -> Path:
    """The only segment, with some bytes flipped."""
    (segment,) = folder.glob("*.rows")
    data = bytearray(segment.read_bytes())
    for place in places:
        data[place] ^= 255
    segment.write_bytes(data)
    return segment


def salvaged(folder: Path, out: Path, capsys: Any) -> tuple[Any, list[list[float]]]:
    """What is said of the one folder that was set aside, and the rewards of each stretch."""
    (aside,) = folder.glob("damaged-*")
    before = [path.read_bytes() for path in sorted(aside.iterdir())]
    found = said(capsys, str(aside), "--export", str(out))
    assert [path.read_bytes() for path in sorted(aside.iterdir())] == before
    rewards = [np.load(out / c["file"], allow_pickle=False)["reward"] for c in found["chunks"]]
    return found, [list(map(float, reward)) for reward in rewards]


def test_rows_behind_a_damaged_one_are_kept_aside_and_can_be_exported(
    folder: Path, tmp_path: Path, capsys: Any
) -> None:
    (segment,) = folder.glob("*.rows")
    size = segment.stat().st_size
    row = 8 + 1 + 4 + 1  # length and checksum, kind, reward, is_last
    damaged(
        folder, size - 4 * row + 9, size - 2 * row + 9
    )  # of episode 1, its rows 1 and 3 of 0..4
    spool = Spool(folder)
    assert (spool.next_seq, spool.backlog) == (8, 8)  # what is whole from the start is delivered
    spool.close()
    found, rewards = salvaged(folder, tmp_path / "out", capsys)
    assert rewards == [[0, 1, 2, 3, 4, 5, 6], [7], [9], [11]]
    assert [(c["episode"], c["first_seq"]) for c in found["chunks"]] == [
        (0, 0), (1, 7), (1, 9), (1, 11)
    ]  # fmt: skip
    holes = [[size - n * row, size - (n - 1) * row] for n in (4, 2)]
    assert (found["holes"], found["orphans"]) == ({segment.name: holes}, 0)
    Spool(folder).close()
    assert len([*folder.glob("damaged-*")]) == 1  # once is enough


def test_rows_whose_columns_are_damaged_are_counted_and_not_guessed(
    folder: Path, tmp_path: Path, capsys: Any
) -> None:
    (segment,) = folder.glob("*.rows")
    row = 8 + 1 + 4 + 1
    damaged(folder, segment.stat().st_size - 5 * row - 3)  # the columns of episode 1
    Spool(folder).close()
    found, rewards = salvaged(folder, tmp_path / "out", capsys)
    assert rewards == [[0, 1, 2, 3, 4, 5, 6]]
    assert found["orphans"] == 5
    (aside,) = folder.glob("damaged-*")
    assert main(["spool", str(aside), "--export", str(tmp_path / "again")]) == 0
    words = capsys.readouterr().out
    assert "7 rows could be read" in words
    assert "cannot be read" in words
    assert "5 rows left out" in words


def test_a_torn_row_at_the_end_is_no_damage(folder: Path) -> None:
    (segment,) = folder.glob("*.rows")
    segment.write_bytes(segment.read_bytes()[:-3])
    spool = Spool(folder)
    assert spool.backlog == 11
    spool.close()
    assert not [*folder.glob("damaged-*")]


def test_segments_set_aside_for_a_hole_between_them_can_be_exported(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robot_client.spool._SEGMENT_BYTES", 300)
    spool = Spool(tmp_path / "spool")
    for seq in range(40):
        spool.append(0, {"reward": np.asarray(np.float32(seq)), "is_last": np.asarray(False)})
    spool.close()
    first, second, *_ = sorted((tmp_path / "spool").glob("*.rows"))
    lost = range(int(first.stem), int(second.stem))
    first.write_bytes(b"\0" * first.stat().st_size)
    Spool(tmp_path / "spool").close()
    _, rewards = salvaged(tmp_path / "spool", tmp_path / "out", capsys)
    assert sorted(chain(*rewards)) == [float(n) for n in range(40) if n not in lost]


def test_what_is_salvaged_was_recorded_so_wherever_the_damage_is(folder: Path) -> None:
    (path,) = folder.glob("*.rows")
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole)
        for place in rng.integers(len(data), size=rng.integers(1, 4)):
            data[place] ^= int(rng.integers(1, 256))
        found = salvage(Segment(path, 0), bytes(data))
        rows = sum(run.rows for run in found.segment.runs)
        damage = sum(-(-(end - begin) // 14) for begin, end in found.holes)  # in rows, at most
        assert rows + found.orphans >= 12 - damage
        for run in found.segment.runs:
            rewards = rows_of(run, bytes(data))["reward"]
            assert {float(r) > 6 for r in rewards} == {run.episode == 1}
            np.testing.assert_array_equal(np.diff(rewards), 1)
            if not found.orphans:
                assert run.first_seq == rewards[0]


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
