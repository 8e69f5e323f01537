"""A policy as it travels: manifest, ONNX graphs (once per architecture), weights (per version).

All blobs are named by their SHA-256. A bundle has the graph `policy`, or `filter` and `imagine`, or
all three: it acts by itself, or by planning in its world model. `policy` is one control step,

    (in_<obs>..., in_carry_<name>..., in_prev_action, in_is_first, in_noise_<name>...,
     in_task_code where the signature says so)
        -> (out_action, out_carry_<name>..., out_extra_<name>...)

on a batch of one: every tensor has a leading axis 1. Observations come raw, as the robot's spaces
declare them; the action leaves in the robot's own scale, one-hot free (int64 for Discrete).
`in_is_first` (bool) resets carry and previous action inside the graph. All randomness enters as
noise. Extras are recorded with the row as columns `policy/<name>`. `filter` is the same step with
no action: it has the policy's inputs but for noise that acts, and its outputs but for the action.

`policy` may say what it thinks of actions besides, for who learns from it; robots leave that alone:
`out_q` (n,) values of choices, or `out_logits` (n,), or `out_mean` and `out_std` (A,) of a normal
distribution of numbers that tanh brings to -1..1. They are no extras: nothing is recorded.

The other graphs take N rows, one for each candidate plan; N is free. Their actions (N, A) float32
are in the model's own scale: a Box's numbers -1..1 (unbounded ones as they are), or one-hot.

    imagine  (in_carry_<name>..., in_action, in_noise_<name>...)
                 -> (out_carry_<name>..., out_reward, out_continue)   one step, (N,) float32
    propose  (in_carry_<name>..., in_noise_<name>...) -> out_action   what the policy would do
    value    (in_carry_<name>...) -> out_value                        (N,) float32: return to come

`propose` and `value` are optional. `out_reward` comes with the imagined state, `out_continue` in
0..1 is the chance that the episode goes on after it, times the discount if that is learned. One
step, not a whole rollout: ONNX Runtime would prepare every weight of an unrolled graph once per
imagined step, at each swap, and the horizon would be fixed before the deadline is known.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from robot_client.errors import BundleError

FORMAT = 2
Kind = Literal["actor", "planner"]
NoiseKind = Literal["normal", "uniform", "gumbel"]
SAID = frozenset({"out_q", "out_logits", "out_mean", "out_std"})  # to who learns from it
Method = Literal["shooting", "cem", "mppi", "icem"]
_DTYPES = ("bool", "float16", "float32", "int64", "uint8")
_SAFETENSORS = {"BOOL": "bool", "F16": "float16", "F32": "float32", "I64": "int64", "U8": "uint8"}
_MAX_SAFETENSORS_HEADER = 16 * 2**20
_MAX_COUNT = 2**16  # of whatever a plan has many of


@dataclass(frozen=True)
class TensorSpec:
    """Dtype name and shape, without the leading batch axis."""

    dtype: str
    shape: tuple[int, ...]

    def zeros(self) -> NDArray[Any]:
        """(1, *shape) zeros."""
        return np.zeros((1, *self.shape), self.dtype)


@dataclass(frozen=True)
class NoiseSpec:
    """A noise input: its shape without the batch axis, its distribution, and what it drives.

    `acts` is true for noise that explores: an evaluation episode sets it to zero, which must yield
    the mode of the action (Gumbel and normal noise do). Other noise, such as that of a sampled
    latent state, is always drawn.
    """

    shape: tuple[int, ...]
    kind: NoiseKind
    acts: bool

    def sample(self, rng: np.random.Generator, rows: int = 1) -> NDArray[np.float32]:
        """(rows, *shape) standard normal, uniform in [0, 1) or standard Gumbel numbers."""
        shape = (rows, *self.shape)
        if self.kind == "normal":
            return rng.standard_normal(shape, np.float32)
        uniform = rng.random(shape, np.float32)
        return (
            uniform
            if self.kind == "uniform"
            else -np.log(-np.log(np.clip(uniform, 1e-7, 1 - 1e-7)))
        )


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of `policy` and `filter` besides observations, action and is_first.

    Args:
        carry: recurrent state; starts at zero, and is_first makes its content irrelevant.
        noise: random inputs.
        extras: outputs recorded with the row.
        task: whether it is told `robot_client.schema.task_code` of the robot's task.
    """

    carry: Mapping[str, TensorSpec] = field(default_factory=dict)
    noise: Mapping[str, NoiseSpec] = field(default_factory=dict)
    extras: Mapping[str, TensorSpec] = field(default_factory=dict)
    task: bool = False


@dataclass(frozen=True)
class PlanSettings:
    """How plans are searched for. The defaults are PlaNet's (Hafner et al. 2019, appendix A).

    Raises ValueError naming the field that is out of bounds.

    Args:
        method: random shooting, CEM (PETS, PlaNet), MPPI on elites (TD-MPC2), or iCEM.
        horizon: imagined steps H.
        candidates: plans per iteration; iCEM shrinks this from one to the next.
        iterations: refinements; random shooting draws candidates * iterations plans.
        elites: how many of the best refine the search; for MPPI the number of candidates gives
            the classic form, in which all count.
        proposals: how many of the first candidates the policy proposes (TD-MPC2: 24 of 512).
        temperature: MPPI's, in units of return: a plan weighs exp((return - best) / temperature).
            TD-MPC2 multiplies by 0.5, which is 2 here.
        colour: iCEM's exponent beta of the noise's power spectrum 1 / f**beta: 0 is white, 0.25 to
            3.5 in the paper's tasks, more for slower ones.
        keep: iCEM's share of the elites that go on to the next iteration and the next step.
        momentum: share of the old mean and deviation in the refined ones (0.1 in PETS and iCEM).
        init_std: deviation at first, in the model's scale of actions; 0.5 in iCEM.
        min_std: the least deviation (0.05 in TD-MPC2).
        warm_start: begin with the last plan, shifted by a step; PlaNet alone plans from scratch.
        explore: deviation of noise added to the action while exploring, in the model's scale; for
            Discrete, the share of actions taken at random.
    """

    method: Method = "cem"
    horizon: int = 12
    candidates: int = 1000
    iterations: int = 10
    elites: int = 100
    proposals: int = 0
    temperature: float = 2.0
    colour: float = 2.0
    keep: float = 0.3
    momentum: float = 0.0
    init_std: float = 1.0
    min_std: float = 0.0
    warm_start: bool = False
    explore: float = 0.3

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("horizon", "candidates", "iterations"), (1, _MAX_COUNT))
        counts |= {"elites": (1, self.candidates), "proposals": (0, self.candidates)}
        for name, (least, most) in counts.items():
            _within(name, getattr(self, name), int, least, most)
        for name in ("temperature", "colour", "keep", "momentum", "init_std", "min_std", "explore"):
            limit = 1.0 if name in ("keep", "momentum") else 1e6
            _within(name, getattr(self, name), float, 0.0, limit)
        if self.method not in get_args(Method):
            raise ValueError(f"method: expected one of {get_args(Method)}, got {self.method!r}")
        if type(self.warm_start) is not bool:
            raise ValueError(f"warm_start: expected a bool, got {self.warm_start!r}")
        if not self.temperature:
            raise ValueError("temperature: expected more than 0")


@dataclass(frozen=True)
class Planning:
    """What a planner needs to know besides the graphs.

    Args:
        noise: random inputs of `imagine`, and of `propose`; shapes without the N axis.
        discount: factor of what follows a step, besides `out_continue`.
        settings: the agent's choice; a robot may change it.
    """

    noise: Mapping[str, NoiseSpec] = field(default_factory=dict)
    proposal_noise: Mapping[str, NoiseSpec] = field(default_factory=dict)
    discount: float = 1.0
    settings: PlanSettings = field(default_factory=PlanSettings)

    def __post_init__(self) -> None:
        _within("discount", self.discount, float, 0.0, 1.0)


@dataclass(frozen=True)
class Manifest:
    """Everything about one policy version but its blobs.

    Args:
        experiment: id of the experiment that trained it.
        agent: registered name of the agent.
        version: grows by one per publication within the experiment, from 0.
        kind: how the robot acts with it, unless it is told otherwise.
        graphs: graph name -> SHA-256 of its ONNX file.
        weights: SHA-256 of the safetensors blob. It holds every parameter of the graphs by
            initialiser name, those of equal name once, and a probe of each graph: inputs
            `probe/<graph>/in_*` with their expected `probe/<graph>/out_*`.
        sizes: SHA-256 -> bytes, for every blob.
        observation_space, action_space: `space_hash` of the spaces it was trained for.
        signature: inputs and outputs of `policy` and `filter`.
        updates: how many learner updates made it.
        planning: for a bundle that can plan.
    """

    experiment: str
    agent: str
    version: int
    kind: Kind
    graphs: Mapping[str, str]
    weights: str
    sizes: Mapping[str, int]
    observation_space: str
    action_space: str
    signature: Signature
    updates: int = 0
    planning: Planning | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types, with the format number."""
        return json.loads(json.dumps({"format": FORMAT, **asdict(self)}))  # type: ignore[no-any-return]

    def same_build(self, other: Manifest) -> bool:
        """Whether recurrent state can go over from one version to the other."""
        mine, others = ((m.graphs, m.signature, m.planning) for m in (self, other))
        return mine == others

    @staticmethod
    def from_json(data: Any) -> Manifest:
        """Inverse of `to_json`. Raises BundleError saying which field is wrong."""
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise BundleError(f"manifest: expected format {FORMAT}, got {str(data)[:80]}")
        try:
            return _manifest(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"manifest: {type(error).__name__}: {error}") from error


def sha256(data: bytes | memoryview) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def read_safetensors(blob: bytes) -> dict[str, NDArray[Any]]:
    """Parse a safetensors blob, checking every offset, without the safetensors library.

    Returns read-only views into `blob`. Raises BundleError when it is malformed.
    """
    try:
        size = int.from_bytes(blob[:8], "little")
        if len(blob) < 8 or size > min(len(blob) - 8, _MAX_SAFETENSORS_HEADER):
            raise ValueError(f"a header of {size} bytes in a blob of {len(blob)}")
        header = json.loads(blob[8 : 8 + size])
        body = memoryview(blob)[8 + size :]
        return {k: _tensor(v, body) for k, v in header.items() if k != "__metadata__"}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            f"weights: not a safetensors blob ({type(error).__name__}: {error})"
        ) from error


def _tensor(entry: Mapping[str, Any], body: memoryview) -> NDArray[Any]:
    dtype = np.dtype(_SAFETENSORS[entry["dtype"]])
    shape = tuple(int(n) for n in entry["shape"])
    begin, end = entry["data_offsets"]
    if not 0 <= begin <= end <= len(body) or min(shape, default=0) < 0:
        raise ValueError(f"offsets {begin} to {end} of {len(body)}, shape {shape}")
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{end - begin} bytes for {dtype} {shape}")
    return np.frombuffer(body[begin:end], dtype).reshape(shape)


def _manifest(data: Mapping[str, Any]) -> Manifest:
    signature = data["signature"]
    if data["kind"] not in ("actor", "planner"):
        raise ValueError(f"expected kind actor or planner, got {data['kind']!r}")
    return Manifest(
        experiment=str(data["experiment"]),
        agent=str(data["agent"]),
        version=int(data["version"]),
        kind=data["kind"],
        graphs={str(k): _digest(v) for k, v in data["graphs"].items()},
        weights=_digest(data["weights"]),
        sizes={_digest(k): int(v) for k, v in data["sizes"].items()},
        observation_space=_digest(data["observation_space"]),
        action_space=_digest(data["action_space"]),
        signature=Signature(
            carry={str(k): _spec(v) for k, v in signature["carry"].items()},
            noise=_noises(signature["noise"]),
            extras={str(k): _spec(v) for k, v in signature["extras"].items()},
            task=bool(signature.get("task", False)),
        ),
        updates=int(data["updates"]),
        planning=_planning(data["planning"]) if data.get("planning") is not None else None,
    )


def _planning(data: Mapping[str, Any]) -> Planning:
    return Planning(
        noise=_noises(data["noise"]),
        proposal_noise=_noises(data["proposal_noise"]),
        discount=data["discount"],
        settings=PlanSettings(**data["settings"]),
    )


def _within(name: str, value: Any, kind: type[int] | type[float], low: float, high: float) -> None:
    """Raises ValueError for a number out of bounds or of another kind; an int is a float too."""
    kinds = (int,) if kind is int else (int, float)
    if type(value) not in kinds or not low <= value <= high:  # NaN is not between them
        raise ValueError(f"{name}: expected {kind.__name__} in {low}..{high}, got {value!r}")


def _digest(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise ValueError(f"expected a SHA-256 in hexadecimal, got {value!r}")
    return value


def _shape(value: Any) -> tuple[int, ...]:
    shape = tuple(int(n) for n in value)
    if min(shape, default=0) < 0 or math.prod(shape) > 2**24:
        raise ValueError(f"expected a shape of at most 16 M numbers, got {shape}")
    return shape


def _spec(value: Mapping[str, Any]) -> TensorSpec:
    if value["dtype"] not in _DTYPES:
        raise ValueError(f"expected a dtype of {_DTYPES}, got {value['dtype']!r}")
    return TensorSpec(value["dtype"], _shape(value["shape"]))


def _noises(value: Mapping[str, Any]) -> dict[str, NoiseSpec]:
    return {str(k): _noise(v) for k, v in value.items()}


def _noise(value: Mapping[str, Any]) -> NoiseSpec:
    if value["kind"] not in ("normal", "uniform", "gumbel"):
        raise ValueError(f"expected a noise kind, got {value['kind']!r}")
    return NoiseSpec(_shape(value["shape"]), value["kind"], bool(value["acts"]))
