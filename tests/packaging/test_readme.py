"""What the README shows works: its robot, its make targets, its paths."""

import re
from pathlib import Path

from robot_client.robot import Robot
from robot_client.testing import check_robot

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return [text for kind, text in fenced if kind == language]


def test_the_robot_is_a_robot():
    (code,) = blocks("python")
    names: dict[str, type] = {}
    exec(compile(code, "README.md", "exec"), names)
    robot = names["Turntable"]()
    assert isinstance(robot, Robot)
    check_robot(robot)


def test_the_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"\bmake ([\w-]+)", README))
    assert {"setup", "demo", "test", "check", "bench"} <= shown <= targets


def test_the_paths_exist():
    mentioned = re.findall(r"`([\w/]+(?:/|\.(?:py|toml|txt|yml)))`", README)
    lost = [path for path in mentioned if not (ROOT / path).exists()]
    assert lost == ["turntable.py"]
    (tree,) = (text for text in blocks("") if "robot_client/" in text)
    folder = ""
    for line in tree.splitlines():
        name = line.split()[0]
        folder = name if not line.startswith(" ") else folder
        assert (ROOT / (name if name == folder else folder + name)).exists(), line
