"""The vocabulary that robots, server and agents share: rows, chunks, spaces and tasks.

A row is what is recorded at step t of an episode: the observation, the reward that arrived with it,
three flags, and the action executed after seeing it (zeros on the last row). The flags:

    is_first     the episode begins here: recurrent state and previous action are void
    is_last      the episode ends here for any reason: nothing follows, never bootstrap across
    is_terminal  the task ended here in success or failure: there is no future reward

`is_last` without `is_terminal` is a time limit, a pause or an operator's stop.

`source` says who chose, and `action_requested` what they asked for, before any limit. While a
person drives, the policy goes on watching: the row has the source `human` and the person's request,
but the policy's version and extras, and in `policy/proposal` what the policy would have asked for.
Where no policy watched, the version is NO_POLICY and there is no proposal.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.errors import SchemaError
from robot_client.expression import Array
from robot_client.rewards import (
    ACTION_NAME,
    Expression,
    Goals,
    Reward,
    build,
    reward_from_json,
    reward_to_json,
)

Columns = dict[str, NDArray[Any]]  # name -> (N, ...)
Json = dict[str, Any]
ActionSpace = spaces.Box | spaces.Discrete

REWARD = "reward"
IS_FIRST = "is_first"
IS_LAST = "is_last"
IS_TERMINAL = "is_terminal"
ACTION = "action"
ACTION_REQUESTED = "action_requested"
POLICY_VERSION = "policy_version"
SOURCE = "source"
TIME_MONOTONIC = "time_monotonic"
TIME_WALL = "time_wall"
TASK_NUMBERS = 4  # of a `task_code`
EXTRA_PREFIX = "policy/"  # columns that a policy adds to the row, such as its recurrent state
PROPOSAL = "proposal"  # extra of a row that a person chose: the policy's action, as requested

MAX_CHUNK_ROWS = 64
MAX_NAME_BYTES = 200  # of a robot, an epoch or a task
_MAX_NUMBERS = 2**24  # of an observation or action: a row must fit into a message
NO_POLICY = -1  # policy_version of a row that no policy has seen

STEP_DTYPES: dict[str, str] = {
    REWARD: "float32",
    IS_FIRST: "bool",
    IS_LAST: "bool",
    IS_TERMINAL: "bool",
    POLICY_VERSION: "int64",
    SOURCE: "uint8",
    TIME_MONOTONIC: "float64",
    TIME_WALL: "float64",
}
RESERVED = frozenset(
    {*STEP_DTYPES, ACTION, ACTION_REQUESTED, "seq", "row_id", "prev_action", "task_code"}
)
EXTRA_DTYPES = frozenset({"float16", "float32", "uint8", "int64"})


class Source(IntEnum):
    """Who chose the action of a row."""

    POLICY = 0
    PLANNER = 1
    RANDOM = 2
    HUMAN = 3
    HOLD = 4


_TASK_FIELDS = ("name", "episode_steps", "reward", "goals", "terminal")
_LAST_SOURCE = int(max(Source))


@dataclass(frozen=True)
class Task:
    """What a robot is to do.

    The robot's own reward is what is recorded and learned. A `reward` says how it comes about, for
    who has to compute that of a goal put in afterwards, or of a plan; what is not declared has to
    be learned.

    Args:
        name: short name; robots of one experiment may differ in it.
        episode_steps: the episode is cut after this many control steps; None never cuts.
        reward: of the observations that an action led to; None where it is no such function.
        goals: for tasks whose goal is observed.
        terminal: the episode is over where this is not 0; None where that is not declared.
    """

    name: str
    episode_steps: int | None = None
    reward: Reward | None = None
    goals: Goals | None = None
    terminal: Expression | None = None

    def rewards(self, obs: Mapping[str, Array], action: Array) -> Array:
        """Rewards (...) for arriving at observations (..., n) by actions (..., A).

        Raises SchemaError when no reward is declared.
        """
        if self.reward is None:
            raise SchemaError("task.reward", "a declared reward", f"none, in {self.name}")
        return self.reward({**obs, ACTION_NAME: action})

    def check(self, observation_space: spaces.Dict, action_space: ActionSpace) -> None:
        """Whether it goes with the spaces. Raises SchemaError naming the part that does not."""
        shapes = {key: tuple(part.shape or ()) for key, part in observation_space.spaces.items()}
        if self.goals is not None:
            achieved, desired = (shapes.get(k) for k in (self.goals.achieved, self.goals.desired))
            if achieved is None or achieved != desired or len(achieved) != 1:
                expected = f"two vectors of one length among {sorted(shapes)}"
                raise SchemaError("task.goals", expected, (achieved, desired))
        values = {key: np.zeros((2, *shape), np.float32) for key, shape in shapes.items()}
        values[ACTION_NAME] = np.zeros((2, *(action_space.shape or ())), np.float32)
        for name, function in (("reward", self.reward), ("terminal", self.terminal)):
            if function is not None:
                _try(f"task.{name}", function, values)

    def to_json(self) -> Json:
        """As plain JSON types; what is not declared is left out."""
        found: Json = {"name": self.name, "episode_steps": self.episode_steps}
        if self.reward is not None:
            found["reward"] = reward_to_json(self.reward)
        if self.goals is not None:
            found["goals"] = asdict(self.goals)
        if self.terminal is not None:
            found["terminal"] = self.terminal.text
        return found

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Task:
        """Inverse of `to_json`. Raises SchemaError on a wrong or unknown field."""
        unknown = set(data) - set(_TASK_FIELDS)
        if unknown:
            raise SchemaError("task", f"the fields {', '.join(_TASK_FIELDS)}", sorted(unknown))
        name, steps = data.get("name"), data.get("episode_steps")
        if not isinstance(name, str) or not is_name(name):
            expected = f"a string of 1 to {MAX_NAME_BYTES} printable bytes"
            raise SchemaError("task.name", expected, repr(name)[:80])
        if steps is not None and (type(steps) is not int or steps < 1):
            raise SchemaError("task.episode_steps", "a positive integer or null", repr(steps))
        reward, goals, terminal = (data.get(key) for key in ("reward", "goals", "terminal"))
        return Task(
            name,
            steps,
            None if reward is None else reward_from_json(reward),
            None if goals is None else build(Goals, goals, "task.goals"),
            None if terminal is None else Expression(terminal),
        )


@dataclass(frozen=True)
class Tag:
    """What travels with the rows of an episode beside their columns.

    Args:
        evaluation: number of the evaluation that it belongs to: one version, the policy's mode,
            no exploration; 0 of none.
        learn: whether its rows are to be learned from.
        cut: of the last row: somebody or something ended the episode before its time, or a person
            drove in it.
    """

    evaluation: int = 0
    learn: bool = True
    cut: bool = False

    def to_json(self) -> Json:
        """What differs from the default."""
        return {k: v for k, v in asdict(self).items() if v != getattr(Tag, k)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Tag:
        """Inverse of `to_json`. Raises SchemaError on a wrong or unknown field."""
        for name, value in data.items():
            if name not in _TAG or type(value) is not type(_TAG[name]):
                raise SchemaError("tag", f"fields like {_TAG}", f"{name}: {value!r}"[:80])
        if not 0 <= data.get("evaluation", 0) < 2**32:
            raise SchemaError("tag.evaluation", "a number from 0 on", data["evaluation"])
        return Tag(**data)


_TAG: Json = asdict(Tag())
NO_TAG = Tag()


@dataclass(frozen=True)
class Field:
    """Type of one column: dtype name, shape of one row, and number of values if discrete."""

    dtype: str
    shape: tuple[int, ...]
    n: int | None = None


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one episode.

    Args:
        epoch: names the robot's spool; a new spool is a new epoch and starts at seq 0.
        episode: number of the episode within the epoch, from 0.
        first_seq: seq of the first row; rows of an epoch are numbered without gaps.
        columns: (N, ...) arrays, 1 <= N <= MAX_CHUNK_ROWS, all of the same N.
        task: name of the task that the robot had; empty where it is not known.
        tag: what else is to be known of its rows.
    """

    epoch: str
    episode: int
    first_seq: int
    columns: Columns
    task: str = ""
    tag: Tag = NO_TAG

    @property
    def rows(self) -> int:
        """Number of rows N."""
        return len(self.columns[REWARD])


def is_name(text: str) -> bool:
    """Whether it can name a robot, an epoch or a task."""
    return 0 < len(text.encode(errors="replace")) <= MAX_NAME_BYTES and text.isprintable()


def task_code(name: str) -> NDArray[np.float32]:
    """(TASK_NUMBERS,) in 0..1, by which a policy tells the names of tasks apart; zeros for none.

    Two names have the same code with a chance of 2**-64.
    """
    if not name:
        return np.zeros(TASK_NUMBERS, np.float32)
    digest = hashlib.sha256(name.encode()).digest()
    numbers = np.frombuffer(digest, "<u2", TASK_NUMBERS)
    return (numbers / 2**16).astype(np.float32)  # exactly


def row_fields(observation_space: spaces.Dict, action_space: ActionSpace) -> dict[str, Field]:
    """Every column of a row and its type, observations first, in a fixed order.

    Raises:
        SchemaError: an observation is named like a column of ours, or a space is of another kind.
    """
    fields: dict[str, Field] = {}
    for key, space in sorted(observation_space.spaces.items()):
        if key in RESERVED or key.startswith(EXTRA_PREFIX):
            raise SchemaError(f"observation_space.{key}", "a name that is not reserved", key)
        fields[key] = _field(f"observation_space.{key}", space)
    action = _field("action_space", action_space)
    fields |= {ACTION: action, ACTION_REQUESTED: action}
    return fields | {name: Field(dtype, ()) for name, dtype in STEP_DTYPES.items()}


def check_columns(fields: Mapping[str, Field], columns: Mapping[str, NDArray[Any]]) -> None:
    """Check a chunk's columns against the declared fields and the closed vocabulary.

    Columns named `policy/...` are extra: any shape, dtype of EXTRA_DTYPES, finite or not.

    Raises:
        SchemaError: names the first column that is missing, unknown, or of wrong type or content.
    """
    rows = len(columns[REWARD]) if REWARD in columns and columns[REWARD].ndim else 0
    if not 1 <= rows <= MAX_CHUNK_ROWS:
        raise SchemaError("columns.reward", f"1 to {MAX_CHUNK_ROWS} rows", rows)
    for name, field in fields.items():
        if name not in columns:
            raise SchemaError(f"columns.{name}", f"{field.dtype} {field.shape}", "no such column")
        _check_column(name, field, rows, columns[name])
    for name in columns.keys() - fields.keys():
        array = columns[name]
        if not name.startswith(EXTRA_PREFIX):
            raise SchemaError(f"columns.{name}", f"one of {sorted(fields)}", "an unknown column")
        if array.dtype.name not in EXTRA_DTYPES or array.shape[:1] != (rows,):
            raise SchemaError(
                f"columns.{name}", f"{rows} rows of {sorted(EXTRA_DTYPES)}", _kind(array)
            )
    if columns[IS_FIRST][1:].any() or columns[IS_LAST][:-1].any():
        raise SchemaError("columns.is_first", "rows of one episode", "a boundary inside the chunk")
    if (columns[IS_TERMINAL] & ~columns[IS_LAST]).any():
        raise SchemaError(
            "columns.is_terminal", "only where is_last", "a terminal row that is not last"
        )
    if columns[SOURCE].max() > _LAST_SOURCE:
        raise SchemaError("columns.source", f"0 to {_LAST_SOURCE}", columns[SOURCE].max())


def space_to_json(space: spaces.Space[Any]) -> Json:
    """Describe a Box, Discrete or Dict space in JSON types."""
    if isinstance(space, spaces.Dict):
        return {
            "type": "dict",
            "spaces": {k: space_to_json(s) for k, s in sorted(space.spaces.items())},
        }
    if isinstance(space, spaces.Discrete):
        return {"type": "discrete", "n": int(space.n)}
    if isinstance(space, spaces.Box):
        low, high = (_compact_bound(b) for b in (space.low, space.high))
        return {
            "type": "box",
            "shape": list(space.shape),
            "dtype": space.dtype.name,
            "low": low,
            "high": high,
        }
    raise SchemaError("space", "Box, Discrete or Dict", type(space).__name__)


def space_from_json(data: Any, where: str = "space") -> spaces.Space[Any]:
    """Inverse of `space_to_json`. Raises SchemaError naming the wrong part."""
    kind = data.get("type") if isinstance(data, Mapping) else None
    if kind == "dict" and isinstance(data.get("spaces"), Mapping):
        numbers = sum(_numbers(space) for space in data["spaces"].values())
        if numbers > _MAX_NUMBERS:  # before any memory is taken for their bounds
            raise SchemaError(where, f"at most {_MAX_NUMBERS} numbers in all", numbers)
        return spaces.Dict(
            {str(k): space_from_json(v, f"{where}.{k}") for k, v in data["spaces"].items()}
        )
    if kind == "discrete" and type(data.get("n")) is int and 1 <= data["n"] <= 2**16:
        return spaces.Discrete(data["n"])
    if kind == "box":
        return _box_from_json(data, where)
    raise SchemaError(where, "a description of a Box, Discrete or Dict", repr(data)[:80])


def space_hash(space: spaces.Space[Any]) -> str:
    """Hexadecimal digest that two spaces share exactly when `space_to_json` agrees."""
    text = json.dumps(space_to_json(space), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _try(where: str, function: Reward, values: Mapping[str, Array]) -> None:
    missing = sorted(function.names - values.keys())
    if missing:
        raise SchemaError(where, f"names among {sorted(values)}", missing[0])
    try:
        with np.errstate(all="ignore"):
            shape = np.shape(function(values))
    except (ValueError, IndexError, TypeError, AttributeError, ArithmeticError) as error:
        raise SchemaError(where, "a function of these spaces", str(error)[:80]) from error
    if shape not in ((2,), ()):
        raise SchemaError(where, "one number per row", f"{shape[1:]} of them")


def _field(where: str, space: spaces.Space[Any]) -> Field:
    if isinstance(space, spaces.Discrete):
        return Field("int64", (), int(space.n))
    if isinstance(space, spaces.Box) and space.dtype.name in ("float32", "uint8"):
        return Field(space.dtype.name, tuple(space.shape))
    raise SchemaError(where, "Box of float32 or uint8, or Discrete", repr(space)[:80])


_dtype = functools.cache(np.dtype)  # a comparison with the name would look it up every time


def _check_column(name: str, field: Field, rows: int, array: NDArray[Any]) -> None:
    if array.dtype != _dtype(field.dtype) or array.shape != (rows, *field.shape):
        raise SchemaError(f"columns.{name}", f"{field.dtype} {(rows, *field.shape)}", _kind(array))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise SchemaError(f"columns.{name}", "finite numbers", "NaN or infinity")
    if field.n is not None and not ((array >= 0) & (array < field.n)).all():
        raise SchemaError(
            f"columns.{name}", f"0 to {field.n - 1}", f"{array.min()} to {array.max()}"
        )


def _kind(array: NDArray[Any]) -> str:
    return f"{array.dtype.name} {array.shape}"


def _compact_bound(bound: NDArray[Any]) -> Any:
    """One number when all are equal; infinities as strings, because JSON has none."""
    flat = bound.ravel()
    if flat.size and (flat == flat[0]).all():  # a camera has millions of them
        return _json_number(float(flat[0]))
    return [_json_number(v) for v in flat.astype(float).tolist()]


def _json_number(value: float) -> float | str:
    return str(value) if math.isinf(value) else value


def _numbers(space: Any) -> int:
    """How many numbers a described space asks for; what is no space is refused elsewhere."""
    if not isinstance(space, Mapping):
        return 0
    if isinstance(space.get("spaces"), Mapping):
        return sum(_numbers(part) for part in space["spaces"].values())
    shape = space.get("shape")
    return math.prod(abs(n) for n in shape if type(n) is int) if isinstance(shape, list) else 0


def _box_from_json(data: Mapping[str, Any], where: str) -> spaces.Box:
    shape, dtype = data.get("shape"), data.get("dtype")
    if not isinstance(shape, list) or not all(type(n) is int and 0 < n <= 2**16 for n in shape):
        raise SchemaError(f"{where}.shape", "a list of positive integers", repr(shape))
    if dtype not in ("float32", "uint8") or len(shape) > 4 or math.prod(shape) > _MAX_NUMBERS:
        raise SchemaError(
            where, "at most 16 M numbers of float32 or uint8 in 4 axes", (dtype, shape)
        )
    low, high = (
        _bound_from_json(data.get(k), shape, dtype, f"{where}.{k}") for k in ("low", "high")
    )
    return spaces.Box(low, high, tuple(shape), np.dtype(dtype).type)


def _bound_from_json(value: Any, shape: list[int], dtype: str, where: str) -> NDArray[Any]:
    try:
        flat = np.asarray(value, np.float64)
        return np.broadcast_to(flat if flat.ndim == 0 else flat.reshape(shape), shape).astype(dtype)
    except (TypeError, ValueError) as error:
        raise SchemaError(
            where, f"a number or {int(np.prod(shape))} of them", repr(value)[:80]
        ) from error
