"""The codec under `messages`: frozen dataclasses to and from frames, trusting nothing that came in.

A dataclass becomes a msgpack header frame and one raw little-endian frame per array. Fields are
checked against their annotations, which may be str, int, float, bool, a Literal of strings, Json
and Columns. Whatever is wrong is a MessageError with field, expected and got; nothing else is
ever raised for bad input, and no more memory is taken than the frames themselves allow.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgpack
import numpy as np
from numpy.typing import NDArray

from robot_client.errors import MessageError
from robot_client.schema import Columns, Json

Frame = bytes | memoryview
T = TypeVar("T")
_Check = Callable[[str, Any, "Limits"], Any]

ARRAY_DTYPES: Mapping[str, np.dtype[Any]] = {
    "bool": np.dtype("?"),
    "uint8": np.dtype("u1"),
    "int64": np.dtype("<i8"),
    "float16": np.dtype("<f2"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
}
_NAMES = {dtype: name for name, dtype in ARRAY_DTYPES.items()}  # `dtype.name` is slow
_MAX_AXES = 8
_INT64 = 2**63
_MAX_FLOAT = sys.float_info.max


@dataclass(frozen=True)
class Limits:
    """What a message may be at most; both sides check it, when encoding and when decoding.

    Args:
        frames: frames of one message, header included.
        frame_bytes: bytes of one array frame.
        total_bytes: bytes of all frames.
        header_bytes: bytes of the header frame.
        text: characters of one string.
        depth: nesting of Json.
        items: entries of one list or mapping in the header.
    """

    frames: int = 64
    frame_bytes: int = 16 * 2**20
    total_bytes: int = 32 * 2**20
    header_bytes: int = 64 * 2**10
    text: int = 16 * 2**10
    depth: int = 16
    items: int = 4096


@dataclass(frozen=True)
class _Spec:
    """How one dataclass is checked: a check per body field, and the field that holds arrays."""

    checks: Mapping[str, _Check]
    columns: str | None


def encode(message: Any, protocol: int, limits: Limits) -> list[Frame]:
    """Frames of a dataclass. Contiguous arrays are not copied: send before changing them.

    Raises:
        MessageError: a field is not what its annotation says, or a limit is exceeded.
    """
    spec = _spec(type(message))  # type: ignore[arg-type]  # classes are hashable
    columns: Columns = getattr(message, spec.columns) if spec.columns else {}
    arrays = [(name, _encodable(name, array)) for name, array in columns.items()]
    header = {
        "v": protocol,
        "kind": type(message).__name__,
        "body": {n: check(n, getattr(message, n), limits) for n, check in spec.checks.items()},
        "arrays": [[n, _NAMES[a.dtype], a.shape] for n, a in arrays],
    }
    try:
        packed = msgpack.packb(header)
    except (TypeError, ValueError, OverflowError) as error:
        raise MessageError("header", "msgpack types", error) from error
    frames = [packed, *(a.reshape(-1).view(np.uint8).data for _, a in arrays)]
    _check_sizes([len(f) for f in frames], limits)
    return frames


def decode(
    frames: Sequence[Frame], kinds: Mapping[str, type[T]], protocol: int, limits: Limits
) -> T:
    """The dataclass that `frames` encode; its arrays are views on the frames.

    Raises:
        MessageError: the frames are no message of `kinds` in this protocol, within `limits`.
    """
    views = [memoryview(frame).cast("B") if len(frame) else memoryview(b"") for frame in frames]
    _check_sizes([view.nbytes for view in views], limits)
    kind, body, arrays = _header(_unpack(views[0], limits), protocol)
    if kind not in kinds:
        raise MessageError("kind", f"one of {', '.join(kinds)}", _short(kind))
    spec = _spec(kinds[kind])  # type: ignore[arg-type]  # classes are hashable
    values = _checked_body(spec, body, limits)
    columns = _columns(arrays, views[1:])
    if spec.columns is not None:
        values[spec.columns] = columns
    elif columns:
        raise MessageError("arrays", f"no arrays in a {kind}", len(columns))
    return kinds[kind](**values)


def _check_sizes(sizes: Sequence[int], limits: Limits) -> None:
    if not 1 <= len(sizes) <= limits.frames:
        raise MessageError("frames", f"1 to {limits.frames} frames", len(sizes))
    if sizes[0] > limits.header_bytes:
        raise MessageError("header", f"at most {limits.header_bytes} bytes", sizes[0])
    if max(sizes) > limits.frame_bytes:
        raise MessageError("frames", f"at most {limits.frame_bytes} bytes a frame", max(sizes))
    if sum(sizes) > limits.total_bytes:
        raise MessageError("frames", f"at most {limits.total_bytes} bytes in all", sum(sizes))


def _unpack(header: memoryview, limits: Limits) -> Any:
    # Without max_array_len, nested lists that only declare a size would reserve gigabytes.
    try:
        return msgpack.unpackb(
            header,
            max_str_len=limits.header_bytes,
            max_bin_len=0,
            max_array_len=limits.items,
            max_map_len=limits.items,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise MessageError("header", "one msgpack map", _short(error)) from error


def _header(header: Any, protocol: int) -> tuple[str, Mapping[Any, Any], list[Any]]:
    if not isinstance(header, dict) or "v" not in header:
        raise MessageError("header", "a map with v, kind, body and arrays", _short(header))
    if type(header["v"]) is not int or header["v"] != protocol:
        raise MessageError("v", f"protocol {protocol}", _short(header["v"]))
    if header.keys() != {"v", "kind", "body", "arrays"}:
        raise MessageError("header", "the keys v, kind, body and arrays", _short(list(header)))
    kind, body, arrays = header["kind"], header["body"], header["arrays"]
    for name, value, wanted in (
        ("kind", kind, str),
        ("body", body, dict),
        ("arrays", arrays, list),
    ):
        if type(value) is not wanted:
            raise MessageError(name, wanted.__name__, _short(value))
    return kind, body, arrays


def _checked_body(spec: _Spec, body: Mapping[Any, Any], limits: Limits) -> dict[str, Any]:
    if body.keys() != spec.checks.keys():
        for name in spec.checks:
            if name not in body:
                raise MessageError(name, "a value", "no such field")
        unknown = next(name for name in body if name not in spec.checks)
        raise MessageError(
            str(unknown)[:80], f"one of {', '.join(spec.checks)}", "an unknown field"
        )
    return {name: check(name, body[name], limits) for name, check in spec.checks.items()}


def _columns(entries: list[Any], frames: Sequence[memoryview]) -> Columns:
    if len(entries) != len(frames):
        raise MessageError("arrays", f"{len(frames)} entries, one a frame", len(entries))
    columns: Columns = {}
    for entry, frame in zip(entries, frames, strict=True):
        name, dtype, shape = _entry(entry)
        if name in columns:
            raise MessageError(f"columns.{name}", "each name once", "a second array")
        columns[name] = _array(f"columns.{name}", dtype, shape, frame)
    return columns


def _entry(entry: Any) -> tuple[str, str, list[int]]:
    if type(entry) is not list or len(entry) != 3 or type(entry[0]) is not str:
        raise MessageError("arrays", "[name, dtype, shape]", _short(entry))
    name, dtype, shape = entry
    if not 1 <= len(name) <= 200:
        raise MessageError("arrays", "a name of 1 to 200 characters", len(name))
    if type(dtype) is not str or dtype not in ARRAY_DTYPES:
        raise MessageError(
            f"columns.{name}", f"a dtype of {', '.join(ARRAY_DTYPES)}", _short(dtype)
        )
    if (
        type(shape) is not list
        or len(shape) > _MAX_AXES
        or [n for n in shape if type(n) is not int or not 0 <= n < _INT64]
    ):
        raise MessageError(f"columns.{name}", f"a shape of at most {_MAX_AXES} axes", _short(shape))
    return name, dtype, shape


def _array(where: str, name: str, shape: list[int], frame: memoryview) -> NDArray[Any]:
    dtype = ARRAY_DTYPES[name]
    size = math.prod(shape) * dtype.itemsize
    if size != frame.nbytes:
        raise MessageError(where, f"{size} bytes for {name} {tuple(shape)}", frame.nbytes)
    if size == 0 and max(shape) > np.iinfo(np.int32).max:
        raise MessageError(where, "a shape that fits in memory", _short(shape))
    try:
        array = np.frombuffer(frame, dtype).reshape(shape)
    except ValueError as error:  # an empty array whose other axes overflow
        raise MessageError(where, "a shape that fits in memory", _short(shape)) from error
    if name == "bool" and array.size and np.frombuffer(frame, np.uint8).max() > 1:
        raise MessageError(where, "booleans of 0 or 1", "another byte")
    return array


def _encodable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype not in _NAMES or array.ndim > _MAX_AXES:
        raise MessageError(
            f"columns.{name}",
            f"at most {_MAX_AXES} axes of {', '.join(ARRAY_DTYPES)}",
            f"{array.dtype} {array.shape}",
        )
    if type(name) is not str or not 1 <= len(name) <= 200:
        raise MessageError("arrays", "a name of 1 to 200 characters", _short(name))
    return np.asarray(array, order="C")


@functools.cache
def _spec(cls: type[Any]) -> _Spec:
    hints = get_type_hints(cls)
    columns = [f.name for f in fields(cls) if hints[f.name] == Columns]
    assert len(columns) <= 1, cls
    assert all(f.default is MISSING for f in fields(cls)), cls  # every field travels
    checks = {f.name: _check_for(hints[f.name]) for f in fields(cls) if f.name not in columns}
    return _Spec(checks, columns[0] if columns else None)


def _check_for(hint: Any) -> _Check:
    if get_origin(hint) is Literal:
        return functools.partial(_check_choice, get_args(hint))
    plain: list[tuple[Any, _Check]] = [
        (str, _check_text),
        (int, _check_int),
        (float, _check_float),
        (bool, _check_bool),
        (Json, _check_json),
    ]
    return next(check for kind, check in plain if hint == kind)


def _check_choice(choices: tuple[str, ...], field: str, value: Any, _: Limits) -> str:
    if type(value) is not str or value not in choices:
        raise MessageError(field, f"one of {', '.join(choices)}", _short(value))
    return value


def _check_text(field: str, value: Any, limits: Limits) -> str:
    if type(value) is not str or len(value) > limits.text:
        got = f"{len(value)} characters" if isinstance(value, str) else _short(value)
        raise MessageError(field, f"a string of at most {limits.text} characters", got)
    return value


def _check_int(field: str, value: Any, _: Limits) -> int:
    if type(value) is not int or not -_INT64 <= value < _INT64:
        raise MessageError(field, "a 64-bit integer", _short(value))
    return value


def _check_float(field: str, value: Any, _: Limits) -> float:
    if type(value) not in (float, int) or not abs(value) <= _MAX_FLOAT:  # NaN is not
        raise MessageError(field, "a finite float", _short(value))
    return float(value)


def _check_bool(field: str, value: Any, _: Limits) -> bool:
    if type(value) is not bool:
        raise MessageError(field, "a boolean", _short(value))
    return value


def _check_json(field: str, value: Any, limits: Limits) -> Json:
    if type(value) is not dict:
        raise MessageError(field, "a mapping", _short(value))
    _check_tree(field, value, limits, limits.depth)
    return value


def _check_tree(where: str, value: Any, limits: Limits, depth: int) -> None:
    if value is None or type(value) is bool:
        return
    if type(value) is int:
        _check_int(where, value, limits)
    elif type(value) is float:
        _check_float(where, value, limits)
    elif type(value) is str:
        _check_text(where, value, limits)
    elif type(value) not in (dict, list):
        raise MessageError(where, "plain JSON", type(value).__name__)
    elif depth == 0 or len(value) > limits.items:
        raise MessageError(
            where, f"at most {limits.items} items, {limits.depth} deep", f"{len(value)} items"
        )
    else:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(value, dict):
                _check_text(where, key, limits)
            _check_tree(where, item, limits, depth - 1)


def _short(value: Any) -> str:
    """A bounded picture of anything, also of what is huge or deep."""
    if isinstance(value, int):  # an integer of thousands of digits has no str()
        return f"{type(value).__name__} {value if abs(value) <= _INT64 else hex(value)[:40]}"
    if value is None or isinstance(value, str | float | Exception):
        return f"{type(value).__name__} {str(value)[:80]!r}"
    return (
        f"{type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else str(type(value))
    )
