"""Drivers of hardware declare what their simulated twins do, without their SDKs and at no cost."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from robot_client.errors import RobotError
from robot_client.robot import Robot
from robot_client.robots import HARDWARE, ROBOTS, make_robot
from robot_client.schema import row_fields, space_from_json, space_to_json

ROOT = Path(__file__).parents[2]
TWINS = {
    "sphero": "sphero-ble",
    "ur5": "ur5-rtde",
    "xarm": "xarm-sdk",
}
SDKS = {"lerobot", "draccus", "spherov2", "cv2", "rtde_control", "rtde_receive", "xarm"}
SDKS |= {"pyrealsense2", "bleak", "torch"}


@pytest.mark.parametrize(("twin", "driver"), TWINS.items())
def test_twin_and_driver_declare_the_same(twin: str, driver: str) -> None:
    simulated, real = make_robot(twin), make_robot(driver)
    assert real.observation_space == simulated.observation_space
    assert list(real.observation_space) == list(simulated.observation_space)
    assert real.action_space == simulated.action_space
    assert real.control_hz == simulated.control_hz
    assert real.task == simulated.task


@pytest.mark.parametrize("name", ["ur5", "xarm"])
def test_the_layout_that_stands_in_for_a_missing_one_is_the_twins(name: str) -> None:
    driver, twin = (
        import_module(f"{package}.{name}") for package in ("robot_client.robots", "sim")
    )
    assert driver.LAYOUT == twin.LAYOUT


@pytest.mark.parametrize("name", HARDWARE)
def test_a_driver_declares_what_travels(name: str) -> None:
    robot = make_robot(name)
    assert isinstance(robot, Robot)
    row_fields(robot.observation_space, robot.action_space)
    for space in (robot.observation_space, robot.action_space):
        assert space_from_json(space_to_json(space)) == space


@pytest.mark.parametrize("name", HARDWARE)
def test_a_driver_blends_its_first_actions(name: str) -> None:
    """Only simulations may say that a jump hurts nobody."""
    assert getattr(make_robot(name), "blend_steps", 1) > 0


@pytest.mark.parametrize("name", HARDWARE)
def test_without_its_device_a_driver_stops_closes_and_says_what_is_missing(name: str) -> None:
    robot = make_robot(name)
    robot.stop()
    robot.close()
    with pytest.raises(RobotError):
        robot.connect()
    with pytest.raises(RobotError):
        robot.observe()
    robot.stop()
    robot.close()


def test_drivers_load_no_sdk_before_they_are_connected() -> None:
    code = "import sys\nfrom robot_client.robots import HARDWARE, make_robot\n"
    code += "for name in HARDWARE: make_robot(name)\n"
    code += "print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) & SDKS == set()


def test_simulated_and_real_robots_have_names_of_their_own() -> None:
    assert set(ROBOTS) & set(HARDWARE) == set()
