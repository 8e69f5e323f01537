"""Robots of different kinds made alike, so that one agent can learn from all of them.

The common spaces of some robots are the smallest that hold those of each:

    float vector of one key   as long as the longest; zeros follow what a shorter robot sees
    Discrete observation      as many values as the largest has
    image, or any other Box   of one shape and dtype everywhere
    Box action                (A,) in [-1, 1], A the most numbers that one of them takes; a robot's
                              own bounds lie at -1 and 1, and it ignores what it does not take
    Discrete action           as many as the largest has; a robot of n takes a for a modulo n

Bounds are the union of the robots' own. The action that is recorded as executed is the one that the
robot took, in the common space; the numbers that it ignores are recorded as they were asked for. A
model that plans must have seen that they make no difference: had they always been 0, it would
believe anything of a plan that sets them. All robots have the same keys, with one exception: where
each has a single vector, or image, that the others do not call the same, these are one key, which
takes the first of their names in the alphabet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.errors import SchemaError
from robot_client.guard import GuardedRobot
from robot_client.robot import Action, Reading, Robot, as_action, rest_action
from robot_client.schema import ActionSpace

# Steps, share of the range, Hz, s.
_AS_THEY_ARE = ("blend_steps", "max_rate", "action_filter_hz", "silence_s")


class Fitted:
    """A robot in larger spaces. What it declares for its safety holds on.

    Args:
        robot: not yet connected.
        observation_space, action_space: as `common_spaces` gives them.

    Raises:
        SchemaError: the robot does not fit into them.
    """

    def __init__(
        self, robot: Robot, observation_space: spaces.Dict, action_space: ActionSpace
    ) -> None:
        self._robot = GuardedRobot(robot)
        self._keys = _keys(robot.observation_space, observation_space)
        self._shapes = {key: space.shape or () for key, space in observation_space.items()}
        self._actions = _actions(robot.action_space, action_space)
        self.observation_space, self.action_space = observation_space, action_space
        self.control_hz, self.task = robot.control_hz, robot.task
        self.rest_action = self._actions.common(rest_action(robot))
        for name in _AS_THEY_ARE:
            if hasattr(robot, name):
                setattr(self, name, getattr(robot, name))

    def connect(self) -> None:
        """Open the device."""
        self._robot.connect()

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode."""
        self._robot.reset(seed)

    def apply(self, action: Action) -> Action:
        """Send what the robot takes of the action; what it really took, in the common space."""
        return self._actions.common(self._robot.apply(self._actions.own(action)), action)

    def hold(self) -> Action:
        """Hold in the robot's own way or, where it has none, stop: then it rests."""
        executed = self._robot.hold()
        if executed is None:
            self._robot.stop()
            return self.rest_action
        return self._actions.common(executed)

    def observe(self) -> Reading:
        """The robot's reading, with zeros behind its vectors."""
        reading = self._robot.observe()
        obs = {
            key: _widened(reading.obs[own], self._shapes[key]) for own, key in self._keys.items()
        }
        return replace(reading, obs=obs)

    def stop(self) -> None:
        """Go to a safe state at once."""
        self._robot.stop()

    def close(self) -> None:
        """Release the device."""
        self._robot.close()


def fit(robots: Sequence[Robot]) -> list[Fitted]:
    """The robots, each in the spaces common to all. Raises SchemaError when there are none."""
    observation_space, action_space = common_spaces(robots)
    return [Fitted(robot, observation_space, action_space) for robot in robots]


def common_spaces(robots: Sequence[Robot]) -> tuple[spaces.Dict, ActionSpace]:
    """The smallest observation and action space that all robots fit into, whatever their order.

    Raises:
        SchemaError: there are none, as for images of two sizes, or Box and Discrete actions; or
            the action of a Box has no bounds.
    """
    observed = [robot.observation_space for robot in robots]
    found: dict[str, list[spaces.Space[Any]]] = {}
    for space, names in zip(observed, _common_names(observed), strict=True):
        for own, key in names.items():
            found.setdefault(key, []).append(space[own])
    common = {key: _union(f"observation_space.{key}", parts) for key, parts in found.items()}
    return spaces.Dict(common), _common_action([robot.action_space for robot in robots])


def _keys(own: spaces.Dict, common: spaces.Dict) -> dict[str, str]:
    """The robot's names of observations -> the common ones. Raises SchemaError unless it fits."""
    shared = set(own.spaces) & set(common.spaces)
    ours, theirs = _others(own, shared), _others(common, shared)
    if ours.keys() != theirs.keys():
        raise SchemaError("observation_space", sorted(common.spaces), sorted(own.spaces))
    names = {key: key for key in shared} | {ours[kind]: theirs[kind] for kind in ours}
    for name, key in names.items():
        where = f"observation_space.{key}"
        if _union(where, [common[key], own[name]]) != common[key]:
            raise SchemaError(where, f"a part of {common[key]}", own[name])
    return names


def _common_names(observed: Sequence[spaces.Dict]) -> list[dict[str, str]]:
    """For each robot: its own names of observations -> the common ones."""
    shared = set.intersection(*(set(space.spaces) for space in observed))
    others = [_others(space, shared) for space in observed]
    for each in others:
        if each.keys() != others[0].keys():
            names = [sorted(shared | set(other.values())) for other in (others[0], each)]
            raise SchemaError(
                "observation_space", f"the same keys of all robots: {names[0]}", names[1]
            )
    common = {kind: min(each[kind] for each in others) for kind in others[0]}
    same = {key: key for key in shared}
    return [same | {own: common[kind] for kind, own in each.items()} for each in others]


def _others(space: spaces.Dict, shared: set[str]) -> dict[str, str]:
    """The keys that are not shared, by what they stand for: `vector`, `image`, or only themselves.

    Of two vectors nobody could tell which is meant.
    """
    found: dict[str, str] = {}
    for key, part in sorted(space.spaces.items()):
        if key not in shared:
            kind = _kind(part)
            found[key if kind in found else kind or key] = key
    return found


def _kind(space: spaces.Space[Any]) -> str:
    if isinstance(space, spaces.Box) and space.dtype == np.float32 and len(space.shape) == 1:
        return "vector"
    return "image" if isinstance(space, spaces.Box) and space.dtype == np.uint8 else ""


def _union(where: str, parts: Sequence[spaces.Space[Any]]) -> spaces.Space[Any]:
    """The smallest space that holds all. Raises SchemaError when there is none."""
    first = parts[0]
    for part in parts[1:]:
        vectors = _kind(part) == _kind(first) == "vector"
        alike = (type(part), part.dtype, part.shape) == (type(first), first.dtype, first.shape)
        if not vectors and not alike:
            raise SchemaError(where, f"{first}, as of another robot", part)
    if isinstance(first, spaces.Discrete):
        return spaces.Discrete(max(int(part.n) for part in parts))  # type: ignore[attr-defined]
    boxes = [part for part in parts if isinstance(part, spaces.Box)]
    assert isinstance(first, spaces.Box)
    shape = max(box.shape for box in boxes)
    low = np.min([_widened(box.low, shape) for box in boxes], 0)
    high = np.max([_widened(box.high, shape) for box in boxes], 0)
    return spaces.Box(low, high, shape, first.dtype.type)


def _widened(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """A vector with zeros behind it; anything else is of that shape already."""
    if array.shape == shape:
        return array
    wide = np.zeros(shape, array.dtype)
    wide[: array.size] = array
    return wide


def _common_action(parts: Sequence[ActionSpace]) -> ActionSpace:
    if all(isinstance(part, spaces.Discrete) for part in parts):
        return spaces.Discrete(
            max(int(part.n) for part in parts if isinstance(part, spaces.Discrete))
        )
    boxes = [part for part in parts if isinstance(part, spaces.Box)]
    if len(boxes) < len(parts):
        raise SchemaError("action_space", "Box of all robots, or Discrete of all", list(parts))
    for box in boxes:
        if not (np.isfinite(box.low).all() and np.isfinite(box.high).all()):
            raise SchemaError("action_space", "a Box with bounds", box)
    return spaces.Box(-1.0, 1.0, (max(int(np.prod(box.shape)) for box in boxes),), np.float32)


class _Actions(Protocol):
    """Translates actions between a robot and the common space."""

    def own(self, action: Action) -> Action: ...

    def common(self, executed: Action, asked: Action | None = None) -> Action: ...


class _Scaled:
    """The first numbers of (A,) in [-1, 1], stretched to the robot's bounds."""

    def __init__(self, own: spaces.Box, common: spaces.Box) -> None:
        self._space, self._size = own, common.shape[0]
        low, high = own.low.ravel().astype(np.float64), own.high.ravel().astype(np.float64)
        self._centre, self._half = (low + high) / 2, (high - low) / 2

    def own(self, action: Action) -> Action:
        return as_action(self._space, self._centre + self._half * action[: self._half.size])

    def common(self, executed: Action, asked: Action | None = None) -> Action:
        moved = executed.ravel() - self._centre
        found = np.zeros(self._size, np.float32) if asked is None else np.clip(asked, -1, 1)
        found = found.astype(np.float32)
        # A number that cannot change has no place between its bounds: it counts as 0.
        np.divide(moved, self._half, out=moved, where=self._half > 0)
        found[: moved.size] = np.where(self._half > 0, moved, 0)
        return found


class _Folded:
    """An index modulo the number of actions that the robot has."""

    def __init__(self, own: spaces.Discrete) -> None:
        self._space = own

    def own(self, action: Action) -> Action:
        return as_action(self._space, action % self._space.n)

    def common(self, executed: Action, asked: Action | None = None) -> Action:
        return executed


def _actions(own: ActionSpace, common: ActionSpace) -> _Actions:
    if _common_action([own, common]) != common:
        raise SchemaError("action_space", f"{_common_action([own])}, or more of it", common)
    if isinstance(own, spaces.Discrete):
        return _Folded(own)
    assert isinstance(common, spaces.Box)
    return _Scaled(own, common)
