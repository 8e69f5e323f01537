"""Columns of numbers and pictures as Parquet files, and back."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robot_client.schema import Columns
from server.datasets.extra import need
from server.errors import Invalid

EPISODE = "episode_index"
_GROUP_ROWS = 1024


def is_picture(dtype: str, shape: tuple[int, ...]) -> bool:
    """Whether a row of a column is a picture (H, W, 1 or 3) of uint8."""
    return dtype == "uint8" and len(shape) == 3 and shape[2] in (1, 3)


def to_table(columns: Mapping[str, NDArray[Any]]) -> Any:
    """An Arrow table: vectors as lists of fixed length, pictures as PNG, others as nested lists."""
    arrow = need("pyarrow")
    return arrow.table({name: _to_arrow(arrow, column) for name, column in columns.items()})


def to_columns(table: Any, names: Iterable[str]) -> Columns:
    """(N, ...) columns of a table; pictures as (N, H, W, C) of uint8.

    Raises Invalid when one is missing, has holes, or rows of different shapes.
    """
    missing = sorted(set(names) - set(table.column_names))
    if missing:
        raise Invalid("columns", f"a column {missing[0]}", table.column_names)
    return {name: _to_numpy(name, table[name].combine_chunks()) for name in names}


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """A picture (H, W, 1 or 3) as PNG."""
    out = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(out, "PNG")
    return out.getvalue()


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """(H, W, 1 or 3) of a picture file."""
    with Image.open(io.BytesIO(data)) as image:
        array = np.array(image if image.mode == "L" else image.convert("RGB"))
    return array[..., None] if array.ndim == 2 else array


class TableFile:
    """A Parquet file that is written episode by episode.

    Args:
        path: of the file; its folders are made.
        group_rows: rows that are written together, at least; 1 makes each episode a row group.
    """

    def __init__(self, path: Path, group_rows: int = _GROUP_ROWS) -> None:
        self.path, self._group_rows = path, group_rows
        self._waiting: list[Any] = []
        self._rows = 0
        self._writer: Any = None
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, episode: int, columns: Mapping[str, NDArray[Any]]) -> None:
        """Append the rows of an episode."""
        rows = len(next(iter(columns.values())))
        self._waiting.append(to_table({**columns, EPISODE: np.full(rows, episode)}))
        self._rows += rows
        if self._rows >= self._group_rows:
            self._flush()

    @property
    def nbytes(self) -> int:
        """Bytes on the disk so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def close(self) -> None:
        """Write what is left, and the end of the file, without which nobody can read it."""
        if self._waiting:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        table = need("pyarrow").concat_tables(self._waiting)
        if self._writer is None:
            self._writer = need("pyarrow.parquet").ParquetWriter(self.path, table.schema)
        self._writer.write_table(table, row_group_size=max(1, len(table)))
        self._waiting, self._rows = [], 0


def by_episode(paths: Iterable[Path]) -> Iterator[tuple[int, Any]]:
    """Number and rows of each episode, through files in which the rows of one lie together."""
    arrow = need("pyarrow")
    held: Any = None
    for path in paths:
        file = need("pyarrow.parquet").ParquetFile(path)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            held = table if held is None else arrow.concat_tables([held, table])
            starts = _starts(held)
            for low, high in pairwise(starts):
                yield _numbered(held.slice(low, high - low))
            held = held.slice(starts[-1]) if starts else None
    if held is not None:
        yield _numbered(held)


def _starts(table: Any) -> list[int]:
    numbers = table[EPISODE].to_numpy()
    return [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist()] if len(numbers) else []


def _numbered(table: Any) -> tuple[int, Any]:
    return int(table[EPISODE][0].as_py()), table


def _to_arrow(arrow: Any, column: NDArray[Any]) -> Any:
    shape = column.shape[1:]
    if is_picture(column.dtype.name, shape):
        files = arrow.array([encode_png(picture) for picture in column], arrow.binary())
        paths = arrow.nulls(len(column), arrow.string())
        return arrow.StructArray.from_arrays([files, paths], ["bytes", "path"])
    array = arrow.array(np.ascontiguousarray(column).reshape(-1))
    if len(shape) == 1:
        return array if shape == (1,) else arrow.FixedSizeListArray.from_arrays(array, shape[0])
    for length in reversed(shape):
        offsets = np.arange(0, len(array) + 1, length, dtype=np.int32)
        array = arrow.ListArray.from_arrays(arrow.array(offsets), array)
    return array


def _to_numpy(name: str, array: Any) -> NDArray[Any]:
    types = need("pyarrow.types")
    if array.null_count:
        raise Invalid(name, "a value in every row", f"{array.null_count} rows without")
    if types.is_struct(array.type):
        return np.stack([decode_png(value["bytes"]) for value in array.to_pylist()])
    shape: tuple[int, ...] = ()
    rows = len(array)
    while types.is_nested(array.type):
        count = len(array)
        array = array.flatten()
        if count and len(array) % count:
            raise Invalid(name, "rows of one shape", f"{len(array)} values in {count} lists")
        shape = (*shape, len(array) // max(1, count))
    return np.asarray(array.to_numpy(zero_copy_only=False)).reshape(rows, *shape)
