"""The statistics that LeRobot keeps of every feature, per episode and of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.datasets.parquet import is_picture

Stats = dict[str, NDArray[Any]]  # min, max, mean, std, count, q01 ... q99

_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_PICTURES = 32  # of an episode, evenly spread, that are looked at


def stats_of(column: NDArray[Any]) -> Stats:
    """Statistics of (N, ...) values: per number, or per channel (C, 1, 1) in [0, 1] of pictures."""
    shape = column.shape[1:]
    if is_picture(column.dtype.name, shape):
        chosen = np.linspace(0, len(column) - 1, min(len(column), _PICTURES)).round().astype(int)
        pixels = column[chosen].reshape(-1, shape[-1]) / 255.0
        return _stats(pixels, len(chosen), (shape[-1], 1, 1))
    return _stats(column.reshape(len(column), -1).astype(np.float64), len(column), shape or (1,))


def merged(all_stats: list[Stats]) -> Stats:
    """Statistics of everything, from those of the parts.

    Mean and standard deviation are exact; quantiles are the weighted means of the parts', as those
    that LeRobot computes are.
    """
    counts = np.concatenate([stats["count"] for stats in all_stats]).astype(np.float64)
    parts = {name: np.stack([stats[name] for stats in all_stats]) for name in all_stats[0]}
    weights = counts / counts.sum()

    def weigh(values: NDArray[Any]) -> NDArray[Any]:
        return np.tensordot(weights, values, 1)

    mean = weigh(parts["mean"])
    variance = weigh(parts["std"] ** 2 + (parts["mean"] - mean) ** 2)
    return {
        "min": parts["min"].min(0),
        "max": parts["max"].max(0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": parts["count"].sum(0),
        **{name: weigh(parts[name]) for name in _QUANTILES},
    }


def flattened(stats: Mapping[str, Stats]) -> dict[str, Any]:
    """As the columns `stats/<feature>/<name>` of one episode, in lists."""
    return {
        f"stats/{feature}/{name}": value.tolist()
        for feature, found in stats.items()
        for name, value in found.items()
    }


def _stats(values: NDArray[Any], count: int, shape: tuple[int, ...]) -> Stats:
    quantiles = np.quantile(values, list(_QUANTILES.values()), axis=0)
    found = {
        "min": values.min(0),
        "max": values.max(0),
        "mean": values.mean(0),
        "std": values.std(0),
        **dict(zip(_QUANTILES, quantiles, strict=True)),
    }
    return {name: value.reshape(shape) for name, value in found.items()} | {
        "count": np.array([count])
    }
