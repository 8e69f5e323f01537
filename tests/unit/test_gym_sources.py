"""Ids that gymnasium does not know by itself."""

import subprocess
import sys
from types import ModuleType

import pytest

from robot_client.errors import RobotError
from robot_client.robots import gym_sources, make_robot
from robot_client.robots.gym_sources import SOURCES, Source


@pytest.fixture
def called(monkeypatch):
    calls = []
    module = ModuleType("a_source_of_ids")
    module.register = lambda: calls.append("register")
    monkeypatch.setitem(sys.modules, "a_source_of_ids", module)
    return calls


def test_the_source_of_a_prefix_is_asked(monkeypatch, called):
    monkeypatch.setitem(SOURCES, "some/", Source("a_source_of_ids", "register", "some"))
    gym_sources.register("some/Thing-v0")
    gym_sources.register("other/Thing-v0")
    gym_sources.register("CartPole-v1")
    assert called == ["register"]


def test_a_source_without_a_function_is_only_imported(monkeypatch, called):
    monkeypatch.setitem(SOURCES, "Some", Source("a_source_of_ids", None, "some"))
    gym_sources.register("SomeThing-v0")
    assert called == []


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(SOURCES, "some/", Source("no_such_package", "register", "atari"))
    with pytest.raises(RobotError, match=r"some/Thing-v0.*no_such_package.*dreamfleet\[atari\]"):
        make_robot("gym:some/Thing-v0")


def test_an_id_that_the_source_does_not_have_is_gymnasiums_error():
    with pytest.raises(RobotError, match="Chess"):
        make_robot("gym:dreamfleet/Chess-v0")


def test_an_id_is_enough_in_a_fresh_process_and_nothing_of_the_simulations_is_loaded_before():
    code = """
import sys
from robot_client.robots import make_robot
import robot_client.robots.gym
assert "sim" not in sys.modules
make_robot('gym:dreamfleet/BitFlip-v0 {"bits": 3}')
assert "pybullet" not in sys.modules
assert "sim.envs.sokoban" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
