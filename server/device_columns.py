"""The rows of a replay view once more, on the learner's device: batches are put together there.

A batch then costs the host its indices only, and recomputed context never leaves the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.agent import Tensors
from robot_client.schema import EXTRA_PREFIX, IS_LAST
from server.errors import ReplayError
from server.replay.view import ReplayView, Rows

_PIECE = 1024  # rows copied to the device at a time


class DeviceColumns:
    """Mirrors a view's columns and extras in rings on a device; gathers as the view does.

    The view stays the index, and says what may still change: whether a row is its episode's last,
    and whether it has its extras. What is written back here is not seen in the view's own.

    Args:
        view: refresh it through this mirror only.
        device: where the rings are.
        room: bytes that they may take; None for any number.
    """

    def __init__(self, view: ReplayView, device: torch.device, room: int | None = None) -> None:
        self._view, self._device, self._room = view, device, room
        self._rings: Tensors = {}
        self._copied = 0  # row id after the newest that is mirrored

    @property
    def head(self) -> int:
        """As the view's."""
        return self._view.head

    def refresh(self) -> int:
        """Index what has been committed since and copy it here; returns the number of new rows.

        Raises ReplayError as the view does, and when the view's capacity has no room here.
        """
        new = self._view.refresh()
        names = [n for n in (*self._view.columns, *self._view.extras) if n != IS_LAST]
        self._copied = max(self._copied, self._view.tail)
        while self._copied < self._view.head:
            slot = self._copied % self._view.capacity
            count = min(_PIECE, self._view.head - self._copied, self._view.capacity - slot)
            found = self._view.gather(np.arange(self._copied, self._copied + count), names)
            if not self._rings:
                self._allocate(found)
            for name, array in found.items():
                self._rings[name][slot : slot + count].copy_(torch.from_numpy(array))
            self._copied += count
        return new

    def gather(self, rows: Rows, names: Sequence[str]) -> Tensors:
        """Columns of rows in view: `rows` of any shape (...) gives (..., *shape)."""
        slots = self.place(rows % self._view.capacity)
        here = {name: self._rings[name][slots] for name in names if name in self._rings}
        others = self._view.gather(rows, [name for name in names if name not in here])
        return here | {name: self.place(array) for name, array in others.items()}

    def place(self, array: NDArray[Any]) -> torch.Tensor:
        """An array on the device."""
        return torch.from_numpy(array).to(self._device)

    def write_back(self, rows: Rows, context: Tensors) -> None:
        """As the view's, from tensors on the device."""
        flat = rows.reshape(-1)
        # Of a row that is there twice the last one counts; a device would store them in any order.
        newest, places = np.unique(flat[::-1], return_index=True)
        held = self._view.holds(newest)
        slots = self.place(newest[held] % self._view.capacity)
        chosen = self.place(len(flat) - 1 - places[held])
        for name, values in context.items():
            ring = self._rings[EXTRA_PREFIX + name]
            ring[slots] = values.reshape(-1, *ring.shape[1:])[chosen].to(ring.dtype)
            if values.is_cuda:
                values.record_stream(torch.cuda.current_stream(self._device))
        self._view.mark(newest[held])

    def _allocate(self, columns: dict[str, NDArray[Any]]) -> None:
        capacity = self._view.capacity
        size = capacity * sum(array.nbytes // len(array) for array in columns.values())
        if self._room is not None and size > self._room:
            raise ReplayError(
                f"replay_on_device: {capacity} rows take {size / 1e9:.1f} GB, and {self._device}"
                f" has {self._room / 1e9:.1f} GB free: lower `capacity`, or leave it on the host"
            )
        for name, array in columns.items():
            shape, dtype = (capacity, *array.shape[1:]), torch.from_numpy(array).dtype
            self._rings[name] = torch.zeros(shape, dtype=dtype, device=self._device)
