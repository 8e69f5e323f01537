"""What the rows of one episode hold, for people to look at: numbers over time, and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_client.errors import SchemaError
from robot_client.schema import TIME_MONOTONIC
from server.errors import NotFound
from server.replay import episode as rows_of
from server.replay.layout import Column
from server.replay.store import ReplayStore
from server.storage import EpisodeKey

_WIDEST = 64  # numbers per row of a column that is drawn


class Recorded(NamedTuple):
    """Where an episode's rows are."""

    store: ReplayStore
    place: rows_of.Place


def recorded(store: ReplayStore, key: EpisodeKey) -> Recorded:
    """Find an episode, finished or not. Raises NotFound."""
    try:
        place = rows_of.find(store, *key)
    except SchemaError:  # no robot or epoch can be called so
        place = None
    if place is None:
        raise NotFound(f"no rows of episode {key.episode} of {key.robot}, {key.epoch}")
    return Recorded(store, place)


def signals_of(rows: Recorded, names: Sequence[str] | None, most: int) -> dict[str, Any]:
    """`rows`, how many there are; `row`, those chosen; `columns` and, by name, `cameras`.

    Raises NotFound for a name that is no column of numbers.
    """
    columns = rows.place.columns.items()
    numbers = [n for n, c in columns if math.prod(c.shape) <= _WIDEST and not _is_camera(c)]
    unknown = sorted(set(names or ()) - set(numbers))
    if unknown:
        raise NotFound(f"no column of numbers {unknown[0]!r}; there are {', '.join(numbers)}")
    chosen = rows_of.thinned(rows.place.rows, most)
    found = rows_of.read(rows.store, rows.place, names or numbers, chosen)
    return {
        "rows": rows.place.rows,
        "row": chosen,
        "columns": {name: _plain(column) for name, column in found.items()},
        "cameras": [n for n, c in columns if _is_camera(c)],
    }


def film_of(rows: Recorded, camera: str, most: int) -> tuple[list[NDArray[np.uint8]], float]:
    """Pictures (H, W, C) of an episode, evenly thinned, and its seconds. Raises NotFound."""
    _check_camera(rows, camera)
    chosen = rows_of.thinned(rows.place.rows, most)
    found = rows_of.read(rows.store, rows.place, [camera, TIME_MONOTONIC], chosen)
    times = found[TIME_MONOTONIC]
    seconds = float(times[-1] - times[0])
    return list(found[camera]), min(max(seconds, 0.001), 3600.0) if seconds == seconds else 1.0


def frame_of(rows: Recorded, camera: str, row: int) -> NDArray[np.uint8]:
    """The picture (H, W, C) of one row. Raises NotFound."""
    _check_camera(rows, camera)
    if row >= rows.place.rows:
        raise NotFound(f"no row {row}: the episode has {rows.place.rows}")
    picture: NDArray[np.uint8] = rows_of.read(rows.store, rows.place, [camera], [row])[camera][0]
    return picture


def _check_camera(rows: Recorded, camera: str) -> None:
    column = rows.place.columns.get(camera)
    if column is None or not _is_camera(column):
        raise NotFound(f"no camera {camera!r}")


def _is_camera(column: Column) -> bool:
    shape = column.shape
    return column.dtype == np.uint8 and len(shape) == 3 and shape[2] in (1, 3)


def _plain(column: NDArray[Any]) -> list[Any]:
    """As JSON types; what is not finite is null."""
    plain = column.astype(object)
    if column.dtype.kind == "f":
        plain[~np.isfinite(column)] = None
    found: list[Any] = plain.tolist()
    return found
