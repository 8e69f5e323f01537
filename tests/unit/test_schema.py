from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from gymnasium import spaces

from robot_client.errors import SchemaError
from robot_client.schema import space_from_json, space_to_json


def described(*shape: int) -> dict[str, object]:
    return {"type": "box", "shape": list(shape), "dtype": "float32", "low": -1.0, "high": 1.0}


@pytest.mark.parametrize(
    "parts",
    [
        {f"camera{i}": described(4096, 4096) for i in range(100)},
        {"a": described(4096, 4096), "b": {"type": "dict", "spaces": {"c": described(4096)}}},
        {"a": described(4096, 4096), "b": described(2), "c": described(-(2**30))},
    ],
)
def test_spaces_that_no_message_could_fill_take_no_memory(parts: dict[str, object]) -> None:
    tracemalloc.start()
    with pytest.raises(SchemaError, match="numbers in all"):
        space_from_json({"type": "dict", "spaces": parts})
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20


def test_a_cameras_bounds_are_described_without_a_number_per_pixel() -> None:
    camera = spaces.Box(0, 255, (480, 640, 3), np.uint8)
    tracemalloc.start()
    data = space_to_json(camera)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (data["low"], data["high"]) == (0.0, 255.0)
    assert most < 3 * camera.low.nbytes
    assert space_from_json(data) == camera


def test_bounds_that_differ_or_are_infinite_survive() -> None:
    low, high = np.array([-np.inf, -1.0], np.float32), np.full(2, np.inf, np.float32)
    space = spaces.Box(low, high)
    data = space_to_json(space)
    assert data["low"] == ["-inf", -1.0]
    assert data["high"] == "inf"
    assert space_from_json(data) == space
