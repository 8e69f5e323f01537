"""What becomes of a robot's rows when its disk is full: nothing is lost, and it empties itself."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from robot_client.errors import SpoolFull
from robot_client.spool import Spool
from tests.unit.test_spool import fill, row, values


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Spool(tmp_path)
    fill(queue, 0, 3)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[: len(data) // 2]))
    with pytest.raises(SpoolFull, match="No space left"):
        queue.append(0, row(99))
    monkeypatch.undo()
    fill(queue, 0, 2)
    assert values(queue) == list(range(5))
    queue.close()
    queue = Spool(tmp_path)
    assert values(queue) == list(range(5))
    queue.close()


def no_room(*args: Any, **options: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_without_room_for_another_file_is_a_full_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Spool(tmp_path, quota_bytes=8000)  # a segment has room for a few rows
    fill(queue, 0, 3)
    monkeypatch.setattr(os, "open", no_room)
    with pytest.raises(SpoolFull, match="No space left"):
        fill(queue, 0, 100)
    monkeypatch.undo()
    recorded = queue.next_seq
    fill(queue, 0, 5)
    assert values(queue) == list(range(recorded + 5))
    queue.close()


def test_a_full_disk_is_emptied_by_acknowledgements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing may be deleted before the state is written, and that takes room."""
    queue = Spool(tmp_path, quota_bytes=8000)
    fill(queue, 0, 50)
    sync, spare = os.fsync, tmp_path / "spare"

    def full(descriptor: int) -> None:
        no_room() if spare.exists() else sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    assert len(list(tmp_path.glob("*.rows"))) == 2
    queue.ack(50)
    monkeypatch.undo()
    assert len(list(tmp_path.glob("*.rows"))) == 1
    queue.close()
    queue = Spool(tmp_path)
    assert queue.next_seq == 50
    assert spare.exists()
    queue.close()
