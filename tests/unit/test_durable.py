"""A durable write: whole and synced before its name shows, or as if it had never been."""

import os
import stat
from pathlib import Path

import pytest

from robot_client.durable import write_durably


def test_nothing_else_is_left_behind(tmp_path: Path) -> None:
    write_durably(tmp_path / "x", b"1")
    write_durably(tmp_path / "x", b"22")
    assert (tmp_path / "x").read_bytes() == b"22"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_durably(tmp_path / "x", b"1")

    def full(descriptor: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_durably(tmp_path / "x", b"22")
    assert (tmp_path / "x").read_bytes() == b"1"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]  # what was begun takes no room


def test_the_content_is_synced_before_its_name_shows_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []

    def synced(descriptor: int) -> None:
        seen.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), (tmp_path / "x").exists()))

    monkeypatch.setattr(os, "fsync", synced)
    write_durably(tmp_path / "x", b"1")
    assert seen == [(False, False), (True, True)]
