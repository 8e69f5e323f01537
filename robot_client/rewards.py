"""Rewards and goals as data: functions of named observations, alike on the robot and the server.

All work on NumPy arrays and torch tensors of any leading axes: observations (..., n) by key, those
that an action (..., A) has led to, give rewards (...). No code travels: a reward is its JSON form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from robot_client.errors import SchemaError
from robot_client.expression import Array, Formula, norm

ACTION_NAME = "action"
Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Distance:
    """-scale times the distance of an observation from another, or from a constant."""

    of: str
    to: str | Numbers
    scale: float = 1.0

    @property
    def names(self) -> set[str]:
        """What it reads."""
        return _names(self.of, self.to)

    def __call__(self, values: Mapping[str, Array]) -> Array:
        """Rewards (...)."""
        return norm(_difference(values, self.of, self.to)) * -self.scale


@dataclass(frozen=True)
class Within:
    """`hit` where the distance is at most `within`, `miss` elsewhere: a sparse reward."""

    of: str
    to: str | Numbers
    within: float
    hit: float = 0.0
    miss: float = -1.0

    @property
    def names(self) -> set[str]:
        """What it reads."""
        return _names(self.of, self.to)

    def __call__(self, values: Mapping[str, Array]) -> Array:
        """Rewards (...)."""
        near = norm(_difference(values, self.of, self.to)) <= self.within
        return near * (self.hit - self.miss) + self.miss


@dataclass(frozen=True)
class Quadratic:
    """Minus the sum of `weights` (n,) times the squares of an observation less `to`, minus `effort`
    times the squares of the action."""

    of: str
    weights: Numbers
    to: str | Numbers
    effort: float = 0.0

    @property
    def names(self) -> set[str]:
        """What it reads."""
        return _names(self.of, self.to) | ({ACTION_NAME} if self.effort else set())

    def __call__(self, values: Mapping[str, Array]) -> Array:
        """Rewards (...)."""
        off = _difference(values, self.of, self.to)
        cost = (off * off * _like(self.weights, off)).sum(-1)
        if self.effort:
            action = values[ACTION_NAME]
            cost = cost + self.effort * (action * action).sum(-1)
        return -cost


@dataclass(frozen=True)
class Expression:
    """What `robot_client.expression` makes of a text; `action` is the action's name."""

    text: str

    def __post_init__(self) -> None:
        assert self._formula is not None  # checked when it is made

    @cached_property
    def _formula(self) -> Formula:
        return Formula(self.text, "task.expression")

    @property
    def names(self) -> set[str]:
        """What it reads."""
        return self._formula.names

    def __call__(self, values: Mapping[str, Array]) -> Array:
        """Rewards (...)."""
        return self._formula(values)


Reward = Distance | Within | Quadratic | Expression
_KINDS: dict[str, type[Any]] = {
    "distance": Distance,
    "within": Within,
    "quadratic": Quadratic,
    "expression": Expression,
}


@dataclass(frozen=True)
class Goals:
    """Which observations say what was reached and what was wanted, in the same units.

    Args:
        achieved, desired: keys of the observations.
        within: the goal is reached at this distance.
        ends: whether reaching it ends the episode.
    """

    achieved: str = "achieved_goal"
    desired: str = "desired_goal"
    within: float = 0.0
    ends: bool = False

    def reached(self, achieved: Array, desired: Array) -> Array:
        """(...) whether, of goals (..., g)."""
        return norm(achieved - desired) <= self.within


def reward_to_json(reward: Reward) -> dict[str, Any]:
    """As plain JSON types, with its kind."""
    (kind,) = (name for name, cls in _KINDS.items() if isinstance(reward, cls))
    return {"kind": kind, **{k: _plain(v) for k, v in asdict(reward).items()}}


def reward_from_json(data: Any) -> Reward:
    """Inverse of `reward_to_json`. Raises SchemaError on a wrong or unknown field."""
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise SchemaError("task.reward.kind", f"one of {sorted(_KINDS)}", repr(kind)[:80])
    rest = {name: value for name, value in data.items() if name != "kind"}
    found: Reward = build(_KINDS[kind], rest, "task.reward")
    return found


def build(cls: type[Any], data: Any, where: str) -> Any:
    """An instance of one of our dataclasses from JSON. Raises SchemaError naming the field."""
    known = {field.name: str(field.type) for field in fields(cls)}
    if not isinstance(data, Mapping) or set(data) - set(known):
        raise SchemaError(where, f"the fields {', '.join(known)}", repr(data)[:80])
    values = {name: _checked(f"{where}.{name}", known[name], value) for name, value in data.items()}
    try:
        return cls(**values)
    except TypeError as error:
        raise SchemaError(where, f"the fields {', '.join(known)}", sorted(data)) from error


def _checked(where: str, kind: str, value: Any) -> Any:
    number = type(value) in (int, float) and bool(np.isfinite(value))
    text = isinstance(value, str) and len(value) <= 500
    numbers = isinstance(value, list | tuple) and 0 < len(value) <= 1024
    numbers = numbers and all(type(v) in (int, float) and np.isfinite(v) for v in value)
    fits = {
        "str": text,
        "float": number,
        "bool": type(value) is bool,
        "Numbers": numbers,
        "str | Numbers": text or numbers,
    }
    if not fits[kind]:
        raise SchemaError(where, kind.replace("Numbers", "a list of numbers"), repr(value)[:80])
    return tuple(value) if numbers else value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _names(of: str, to: str | Numbers) -> set[str]:
    return {of, to} if isinstance(to, str) else {of}


def _difference(values: Mapping[str, Array], of: str, to: str | Numbers) -> Array:
    here = values[of]
    return here - (values[to] if isinstance(to, str) else _like(to, here))


def _like(numbers: Numbers, array: Array) -> Array:
    """Numbers as an array of the kind of another."""
    if isinstance(array, np.ndarray):
        return np.asarray(numbers, array.dtype)
    return array.new_tensor(numbers)
