"""Smaller pictures, in NumPy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Shrink:
    """Makes pictures of one size smaller: each new pixel is the mean of the area that it covers.

    Pixels on the edge of an area count by the share inside, so no size need divide the other, and
    the mean of the picture stays.

    Args:
        size: height and width of the pictures that come.
        to: height and width of those that go.

    Raises:
        ValueError: `to` is larger than `size`, or not positive.
    """

    def __init__(self, size: tuple[int, int], to: tuple[int, int] = (64, 64)) -> None:
        if not all(0 < new <= old for old, new in zip(size, to, strict=True)):
            raise ValueError(f"to: expected at most {size} and positive, got {to}")
        self._rows, self._columns = (_shares(*lengths) for lengths in zip(size, to, strict=True))

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """From (H, W, C) to (h, w, C), rounded. Raises ValueError for another size."""
        height, width, channels = picture.shape
        if (height, width) != (self._rows.shape[1], self._columns.shape[1]):
            expected = f"({self._rows.shape[1]}, {self._columns.shape[1]}, C)"
            raise ValueError(f"picture: expected {expected}, got {picture.shape}")
        low = self._rows @ picture.reshape(height, -1).astype(np.float32)  # (h, W * C)
        small = np.tensordot(low.reshape(-1, width, channels), self._columns, (1, 1))  # (h, C, w)
        return np.ascontiguousarray(np.rint(small).astype(np.uint8).transpose(0, 2, 1))


def _shares(old: int, new: int) -> NDArray[np.float32]:
    """(new, old): which share of each new pixel comes from each old one; rows sum to 1."""
    edges = np.arange(new + 1) * (old / new)
    left = np.maximum(edges[:-1, None], np.arange(old))
    right = np.minimum(edges[1:, None], np.arange(old) + 1)
    return np.asarray(np.maximum(right - left, 0) * (new / old), np.float32)
