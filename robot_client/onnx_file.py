"""Reads the initialisers of an ONNX file without the onnx library.

ONNX Runtime ignores a weight that is set under a name the graph has not, and may crash on one of
another shape, so a policy's weights are compared with this list first. The field numbers are those
of onnx.proto3: Model.graph 7, Graph.initializer 5, Tensor.dims 1, data_type 2, name 8,
data_location 14.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from robot_client.errors import BundleError

_DTYPES = {1: "float32", 2: "uint8", 7: "int64", 9: "bool", 10: "float16"}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL = 1

Value = int | memoryview


@dataclass(frozen=True)
class Initializer:
    """Type of one initialiser; `external` ones have no content in the file itself."""

    dtype: str
    shape: tuple[int, ...]
    external: bool


def initializers(graph: bytes) -> dict[str, Initializer]:
    """Every initialiser of the main graph by name. Raises BundleError on a damaged file."""
    found: dict[str, Initializer] = {}
    try:
        for number, model in _fields(memoryview(graph)):
            if number == 7:
                for key, tensor in _fields(_view(model)):
                    if key == 5:
                        name, found_one = _initializer(_view(tensor))
                        found[name] = found_one
    except (ValueError, IndexError) as error:
        raise BundleError(f"graph: not an ONNX file ({error})") from error
    return found


def _initializer(tensor: memoryview) -> tuple[str, Initializer]:
    shape: list[int] = []
    name, dtype, external = "", 0, False
    for number, value in _fields(tensor):
        if number == 1:
            shape += [value] if isinstance(value, int) else _varints(value)
        elif number == 2:
            dtype = _number(value)
        elif number == 8:
            name = bytes(_view(value)).decode()
        elif number == 14:
            external = value == _EXTERNAL
    return name, Initializer(_DTYPES.get(dtype, f"ONNX type {dtype}"), tuple(shape), external)


def _fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """(field number, integer or bytes) of a protobuf message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + size > len(data):
            raise ValueError(f"{size} bytes at {at} of {len(data)}")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The integer at `at` and where the next field begins."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"an integer of more than 64 bits at byte {at}")


def _varints(data: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def _view(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("an integer where a message belongs")
    return value


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError("a message where an integer belongs")
    return value
