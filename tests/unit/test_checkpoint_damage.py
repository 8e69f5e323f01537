"""Checkpoints that were damaged after they were written."""

import os

import pytest
import torch

from server.checkpoint import CheckpointError, Checkpoints


@pytest.fixture
def saved(tmp_path):
    """Two checkpoints, 10 and 20, each with its number as content."""
    checkpoints = Checkpoints(tmp_path)
    for number in (10, 20):
        checkpoints.save(number, {"w": torch.full((3,), float(number))}, {"updates": number})
    return checkpoints


def spoil_tensors(folder):
    path = folder / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def cut_state(folder):
    path = folder / "state.json"
    path.write_bytes(path.read_bytes()[:20])


def lose_tensors(folder):
    (folder / "tensors.safetensors").unlink()


DAMAGES = [spoil_tensors, cut_state, lose_tensors]


def test_there_is_none_at_first(tmp_path):
    assert Checkpoints(tmp_path).load_newest() is None


def test_the_newest_comes_back(saved):
    found = saved.load_newest()
    assert (found.number, found.state, found.damaged) == (20, {"updates": 20}, [])
    assert found.tensors["w"].tolist() == [20, 20, 20]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_set_aside_for_the_one_before(saved, tmp_path, damage):
    damage(tmp_path / f"{20:012d}")
    found = saved.load_newest()
    assert (found.number, found.tensors["w"].tolist()) == (10, [10, 10, 10])
    assert len(found.damaged) == 1
    assert f"{20:012d}" in found.damaged[0]
    assert saved.numbers() == [10]
    assert (tmp_path / f"damaged-{20:012d}").is_dir()
    saved.save(20, {"w": torch.zeros(3)}, {"updates": 20})
    assert saved.load_newest().tensors["w"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("damage", DAMAGES)
def test_when_all_are_damaged_nothing_is_forgotten(saved, tmp_path, damage):
    for number in saved.numbers():
        damage(tmp_path / f"{number:012d}")
    with pytest.raises(CheckpointError, match=f"{20:012d}"):
        saved.load_newest()
    assert saved.numbers() == [10, 20]


def test_what_was_set_aside_is_pruned_like_the_others(saved, tmp_path):
    for number in (30, 40, 50, 60):
        saved.save(number, {"w": torch.zeros(3)}, {"updates": number})
        lose_tensors(tmp_path / f"{number:012d}")
        assert saved.load_newest().number == 20
    for number in (70, 80, 90):
        saved.save(number, {"w": torch.zeros(3)}, {"updates": number})
        os.rename(tmp_path / f"{number:012d}", tmp_path / f"aside-{number:012d}")
    saved.save(100, {"w": torch.zeros(3)}, {"updates": 100})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"{number:012d}" for number in (20, 100)),
        *(f"aside-{number:012d}" for number in (80, 90)),
        *(f"damaged-{number:012d}" for number in (50, 60)),
    ]
