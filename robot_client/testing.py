"""`check_robot`: whether a robot keeps the contract of `robot_client.robot`. For users' tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from robot_client.errors import RobotError, SchemaError
from robot_client.robot import Action, Reading, Robot
from robot_client.schema import Field, Task, row_fields


def check_robot(robot: Robot, *, seeded: bool = True, steps: int = 20) -> None:
    """Exercise a robot that is not connected yet; it is closed afterwards. It will move.

    Args:
        robot: the robot.
        seeded: whether equal seeds must give equal first observations; False for real machines.
        steps: how many actions to try, drawn at random.

    Raises:
        SchemaError: its declaration is wrong, or a value is not what was declared.
        RobotError: it breaks another part of the contract; the message says which.
    """
    fields = check_declaration(robot)
    _check_stop(robot, "before connect")
    robot.connect()
    try:
        robot.reset(0)
        first = _check_reading(robot, fields, "after reset")
        _require(first.reward == 0, f"the first reward is 0, not {first.reward}")
        if seeded:
            _check_seed(robot, fields, first)
        _check_steps(robot, fields, steps)
        _check_stop(robot, "while connected")
    finally:
        robot.stop()
        robot.close()
    _check_stop(robot, "after close")


def check_declaration(robot: Robot) -> dict[str, Field]:
    """The columns of the robot's rows. It is neither connected nor moved.

    Raises SchemaError or RobotError when what it declares is wrong.
    """
    if not isinstance(robot, Robot):
        raise RobotError(f"{type(robot).__name__} lacks attributes or methods of Robot")
    if not isinstance(robot.observation_space, spaces.Dict) or not robot.observation_space.spaces:
        raise SchemaError(
            "observation_space", "a Dict of at least one space", robot.observation_space
        )
    fields = row_fields(robot.observation_space, robot.action_space)
    if isinstance(robot.action_space, spaces.Box) and robot.action_space.dtype != np.float32:
        raise SchemaError("action_space", "a Box of float32, or Discrete", robot.action_space)
    if isinstance(robot.action_space, spaces.Discrete) and robot.action_space.start != 0:
        raise SchemaError("action_space.start", 0, robot.action_space.start)
    if not 0 < robot.control_hz <= 1000:
        raise SchemaError("control_hz", "in (0, 1000]", robot.control_hz)
    assert Task.from_json(robot.task.to_json()) == robot.task, "the task must survive its JSON"
    robot.task.check(robot.observation_space, robot.action_space)
    return fields


def _check_reading(robot: Robot, fields: dict[str, Field], when: str) -> Reading:
    """A reading that fits the declaration, and that a second look confirms."""
    reading, again = robot.observe(), robot.observe()
    if set(reading.obs) != set(robot.observation_space.spaces):
        raise SchemaError(
            f"obs {when}", sorted(robot.observation_space.spaces), sorted(reading.obs)
        )
    for name, array in reading.obs.items():
        field, where = fields[name], f"obs.{name} {when}"
        got = f"{getattr(array, 'dtype', type(array).__name__)} {np.shape(array)}"
        if not isinstance(array, np.ndarray) or got != f"{field.dtype} {field.shape}":
            raise SchemaError(where, f"an array {field.dtype} {field.shape}", got)
        if not np.isfinite(array).all():
            raise SchemaError(where, "finite numbers", "NaN or infinity")
        _check_bounds(where, robot.observation_space[name], array)
        same = np.array_equal(array, again.obs[name])
        _require(same, f"observe twice without apply between gives another {name} {when}")
    if not np.isfinite(reading.reward):
        raise SchemaError(f"reward {when}", "a finite number", reading.reward)
    _require(reading.reward == again.reward, f"observe twice gives another reward {when}")
    return reading


def _check_bounds(where: str, space: spaces.Space[Any], array: Action) -> None:
    if isinstance(space, spaces.Box):
        low, high = space.low, space.high
    else:
        assert isinstance(space, spaces.Discrete)
        low, high = np.asarray(0), np.asarray(space.n - 1)
    if (array < low).any() or (array > high).any():
        raise SchemaError(where, f"{low.min()} to {high.max()}", f"{array.min()} to {array.max()}")


def _check_seed(robot: Robot, fields: dict[str, Field], first: Reading) -> None:
    robot.reset(0)
    again = _check_reading(robot, fields, "after a second reset")
    for name, array in first.obs.items():
        same = np.array_equal(array, again.obs[name])
        _require(same, f"reset(0) twice gives two first observations of {name}")


def _check_steps(robot: Robot, fields: dict[str, Field], steps: int) -> None:
    robot.action_space.seed(0)
    for step in range(steps):
        action = np.asarray(robot.action_space.sample())
        kept = action.copy()
        executed = robot.apply(action)
        _check_executed(robot, executed, f"of step {step}")
        _require(np.array_equal(action, kept), "apply changed the array that it was given")
        reading = _check_reading(robot, fields, f"after step {step}")
        if reading.terminated or reading.truncated:
            robot.reset(None)


def _check_executed(robot: Robot, executed: Action, when: str) -> None:
    space = robot.action_space
    dtype = np.dtype(np.int64) if isinstance(space, spaces.Discrete) else space.dtype
    got = f"{getattr(executed, 'dtype', type(executed).__name__)} {np.shape(executed)}"
    if not isinstance(executed, np.ndarray) or got != f"{dtype} {space.shape}":
        raise SchemaError(f"the action returned by apply {when}", f"{dtype} {space.shape}", got)
    if not np.isfinite(executed).all():
        raise SchemaError(f"the action returned by apply {when}", "finite numbers", executed)
    _check_bounds(f"the action returned by apply {when}", space, executed)


def _check_stop(robot: Robot, when: str) -> None:
    for _ in range(2):
        try:
            robot.stop()
        except Exception as error:
            raise RobotError(f"stop raised {type(error).__name__} {when}: {error}") from error


def _require(holds: bool, contract: str) -> None:
    if not holds:
        raise RobotError(contract)
