"""Every robot of the table keeps the contract."""

from __future__ import annotations

import pytest

from robot_client.robots import ROBOTS, make_robot
from robot_client.testing import check_robot

GYM = ("gym:CartPole-v1", "gym:Pendulum-v1", "gym:FrozenLake-v1")


@pytest.mark.parametrize("name", [*ROBOTS, *GYM])
def test_keeps_the_contract(name: str) -> None:
    check_robot(make_robot(name), seeded=name != "counting")  # which never repeats itself
