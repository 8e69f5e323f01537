"""The command that draws every robot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import pictures
from robot_client.robots import ROBOTS, make_robot

SIZE = (
    pictures.FRAMES * pictures.PIXELS + (pictures.FRAMES - 1) * pictures.GAP,
    pictures.PIXELS,
)


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def shades(path: Path) -> list[float]:
    """Difference of each picture of a strip from the first."""
    with Image.open(path) as image:
        row = np.asarray(image, float)
    step = pictures.PIXELS + pictures.GAP
    cut = [row[:, i * step : i * step + pictures.PIXELS] for i in range(pictures.FRAMES)]
    return [float(np.abs(picture - cut[0]).mean()) for picture in cut]


def test_it_draws_the_table_and_says_what_it_skips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = {name: ROBOTS[name] for name in ("pointmass", "counting")}
    monkeypatch.setattr(pictures, "ROBOTS", {**table, "lost": "no_such_module:Robot"})
    monkeypatch.setattr(pictures, "ENVIRONMENTS", ())
    assert pictures.main(["--out", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["pointmass.png"]
    assert size(tmp_path / "pointmass.png") == SIZE
    said = capsys.readouterr().out
    assert "counting: skipped: it has no picture()" in said
    assert "lost: skipped:" in said


def test_the_pictures_of_a_strip_show_an_episode_and_are_the_same_each_time(tmp_path: Path) -> None:
    found = []
    for turn in range(2):
        folder = tmp_path / str(turn)
        assert pictures.main(['pointmass {"dims": 1}', "--out", str(folder)]) == 0
        found.append(shades(folder / "pointmass-dims-1.png"))
    assert found[0] == found[1]
    assert min(found[0][1:]) > 1


def test_an_environment_of_gymnasium_is_drawn_by_its_id(tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    assert pictures.main(["gym:CartPole-v1", "--out", str(tmp_path)]) == 0
    width, height = size(tmp_path / "gym-CartPole-v1.png")
    assert height == pictures.PIXELS
    assert width > SIZE[0]  # its pictures are wider than high


def test_a_robot_that_was_named_and_cannot_be_drawn_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pictures.main(["pointmas", "pointmass", "--out", str(tmp_path)]) == 1
    assert "did you mean 'pointmass'" in capsys.readouterr().out
    assert (tmp_path / "pointmass.png").exists()


def test_an_episode_that_ends_early_is_followed_by_another() -> None:
    robot = make_robot("gym:FrozenLake-v1")
    robot.picture = lambda pixels: np.full((4, 4, 3), int(robot.observe().obs["obs"]), np.uint8)  # type: ignore[attr-defined]
    assert len(list(pictures.frames(robot, 60))) == pictures.FRAMES
    robot.close()
