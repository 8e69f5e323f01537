"""A policy as it travels: manifest, ONNX graphs (once per architecture), weights (per version).

All blobs are named by their SHA-256. The policy graph of an `actor` bundle is one control step,

    (in_<obs>..., in_carry_<name>..., in_prev_action, in_is_first, in_noise_<name>...)
        -> (out_action, out_carry_<name>..., out_extra_<name>...)

on a batch of one: every tensor has a leading axis 1. Observations come raw, as the robot's spaces
declare them; the action leaves in the robot's own scale, one-hot free (int64 for Discrete).
`in_is_first` (bool) resets carry and previous action inside the graph. All randomness enters as
noise. Extras are recorded with the row as columns `policy/<name>`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robot_client.errors import BundleError

FORMAT = 1
Kind = Literal["actor", "planner"]
NoiseKind = Literal["normal", "uniform", "gumbel"]
_DTYPES = ("bool", "float16", "float32", "int64", "uint8")
_SAFETENSORS = {"BOOL": "bool", "F16": "float16", "F32": "float32", "I64": "int64", "U8": "uint8"}
_MAX_SAFETENSORS_HEADER = 16 * 2**20


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

    def sample(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """(1, *shape) standard normal, uniform in [0, 1) or standard Gumbel numbers."""
        shape = (1, *self.shape)
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
    """Inputs and outputs of a policy graph besides observations, action and is_first.

    Args:
        carry: recurrent state; starts at zero, and is_first makes its content irrelevant.
        noise: random inputs.
        extras: outputs recorded with the row.
    """

    carry: Mapping[str, TensorSpec] = field(default_factory=dict)
    noise: Mapping[str, NoiseSpec] = field(default_factory=dict)
    extras: Mapping[str, TensorSpec] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """Everything about one policy version but its blobs.

    Args:
        experiment: id of the experiment that trained it.
        agent: registered name of the agent.
        version: grows by one per publication within the experiment, from 0.
        kind: how the robot acts with it.
        graphs: graph name -> SHA-256 of its ONNX file; an actor has the graph `policy`.
        weights: SHA-256 of the safetensors blob. It holds every parameter of the graphs by
            initialiser name, and the probe: `probe/in_*` inputs with their expected `probe/out_*`.
        sizes: SHA-256 -> bytes, for every blob.
        observation_space, action_space: `space_hash` of the spaces it was trained for.
        signature: inputs and outputs of the policy graph.
        updates: how many learner updates made it.
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

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types, with the format number."""
        return json.loads(json.dumps({"format": FORMAT, **asdict(self)}))  # type: ignore[no-any-return]

    def same_build(self, other: Manifest) -> bool:
        """Whether recurrent state can go over from one version to the other."""
        return self.graphs == other.graphs and self.signature == other.signature

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
            noise={str(k): _noise(v) for k, v in signature["noise"].items()},
            extras={str(k): _spec(v) for k, v in signature["extras"].items()},
        ),
        updates=int(data["updates"]),
    )


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


def _noise(value: Mapping[str, Any]) -> NoiseSpec:
    if value["kind"] not in ("normal", "uniform", "gumbel"):
        raise ValueError(f"expected a noise kind, got {value['kind']!r}")
    return NoiseSpec(_shape(value["shape"]), value["kind"], bool(value["acts"]))
