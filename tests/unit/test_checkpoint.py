from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from server.checkpoint import CheckpointError, Checkpoints


class Killed(BaseException):
    pass


def save(checkpoints: Checkpoints, number: int) -> None:
    checkpoints.save(number, {"a/b": torch.full((3,), float(number))}, {"updates": number})


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 7)
    tensors, state = checkpoints.load(7)
    assert torch.equal(tensors["a/b"], torch.full((3,), 7.0))
    assert state == {"updates": 7}


def test_the_newest_two_stay(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for number in (1, 2, 3):
        save(checkpoints, number)
    assert checkpoints.numbers() == [2, 3]


@pytest.mark.parametrize("calls", range(14))
def test_killed_at_any_step_the_older_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """The n-th sync or rename never happens, nor anything after it."""
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    left = [calls]

    def dies(real):
        def call(*args):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(*args)

        return call

    finished = False
    with monkeypatch.context() as patch:
        for name in ("fsync", "rename"):
            patch.setattr(os, name, dies(getattr(os, name)))
        try:
            save(checkpoints, 2)
            finished = True
        except Killed:
            pass
    newest = Checkpoints(tmp_path).numbers()[-1]
    assert newest == 2 if finished else newest in (1, 2)
    _, state = Checkpoints(tmp_path).load(newest)
    assert state == {"updates": newest}
    save(Checkpoints(tmp_path), 3)
    assert Checkpoints(tmp_path).load(3)[1] == {"updates": 3}


def test_a_damaged_one_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    blob = tmp_path / f"{1:012d}" / "tensors.safetensors"
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    with pytest.raises(CheckpointError, match="not those that were saved"):
        checkpoints.load(1)
