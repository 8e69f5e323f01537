"""How the rows of a chunk lie in one value of the store.

A value is a fixed header and then the columns, one after the other, each as raw (N, ...) numbers.
Which columns, of which type, is a layout: interned once per store, named by its number.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_client.schema import Columns

_HEADER = struct.Struct("<QQQIIHHI")  # a chunk has few rows: there was room for flags
HEADER_BYTES = _HEADER.size  # 40: keeps eight-byte columns aligned where the store aligns the value

EVALUATION = 1  # flag of a chunk: its episode belongs to an evaluation
WITHHELD = 2  # its rows are not to be learned from
CUT = 4  # somebody or something ended it with this chunk before its time

ColumnType = tuple[str, str, tuple[int, ...]]  # name, dtype string, shape of one row


class ChunkHeader(NamedTuple):
    """Where a stored chunk belongs: row ids grow in commit order, across all streams.

    `stream`, `layout` and `task` are numbers within the store; task 0 is one that is not known.
    `flags` are EVALUATION, WITHHELD and CUT, added up.
    """

    first_row: int
    first_seq: int
    episode: int
    stream: int
    layout: int
    rows: int
    task: int = 0
    flags: int = 0

    def pack(self) -> bytes:
        """As HEADER_BYTES bytes."""
        *place, rows, task, flags = self
        return _HEADER.pack(*place, rows, flags, task)

    @staticmethod
    def unpack(value: bytes | memoryview) -> ChunkHeader:
        """Inverse of `pack`; ignores what follows the header."""
        row, seq, episode, stream, layout, rows, flags, task = _HEADER.unpack_from(value)
        return ChunkHeader(row, seq, episode, stream, layout, rows, task, flags)


@dataclass(frozen=True)
class Column:
    """One column of a layout. `before` is the bytes per row of the columns that lie before it."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    nbytes: int
    before: int

    def start(self, rows: int) -> int:
        """Offset of the column in the value of a chunk of `rows` rows."""
        return HEADER_BYTES + rows * self.before

    def read(self, value: memoryview, rows: int) -> NDArray[Any]:
        """(rows, *shape) view into `value`: valid as long as `value` is."""
        count = rows * prod(self.shape)
        flat = np.frombuffer(value, self.dtype, count, self.start(rows))
        return flat.reshape(rows, *self.shape)


@dataclass(frozen=True)
class Layout:
    """Names and types of the columns, in the order in which they lie in a value."""

    types: tuple[ColumnType, ...]

    @staticmethod
    def of(columns: Mapping[str, NDArray[Any]]) -> Layout:
        """The layout of a chunk's columns: widest numbers first, so that all are aligned."""
        kinds = [(name, array.dtype.str, array.shape[1:]) for name, array in columns.items()]
        return Layout(tuple(sorted(kinds, key=lambda k: (-int(k[1][2:]), k[0]))))

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The columns by name."""
        found, before = {}, 0
        for name, kind, shape in self.types:
            dtype = np.dtype(kind)
            nbytes = dtype.itemsize * prod(shape)
            found[name] = Column(name, dtype, shape, nbytes, before)
            before += nbytes
        return found

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of one row over all columns."""
        return sum(column.nbytes for column in self.columns.values())

    def pack(self, header: ChunkHeader, columns: Columns) -> bytes:
        """The value of a chunk."""
        arrays = (np.ascontiguousarray(columns[name]) for name, _, _ in self.types)
        return b"".join((header.pack(), *(array.data for array in arrays)))

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps(self.types).encode()

    @staticmethod
    def from_bytes(data: bytes | memoryview) -> Layout:
        """Inverse of `to_bytes`."""
        return Layout(tuple((n, d, tuple(s)) for n, d, s in json.loads(bytes(data))))
