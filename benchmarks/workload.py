"""The work that all benchmarks share, and that the peers were measured with.

Vectors: 24 numbers. Image: 64 x 64 x 3 uint8. Actions: 6 numbers. Batches: 16 windows of 64 rows,
imagined 15 steps, float32. Pixels are random, so nothing can be gained by compressing them.
"""

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from robot_client.schema import Chunk, Columns
from server.replay.store import ReplayStore

VECTORS = spaces.Dict({"vector": spaces.Box(-1, 1, (24,))})
IMAGE = spaces.Dict({"image": spaces.Box(0, 255, (64, 64, 3), np.uint8)})
CAMERA_AND_JOINTS = spaces.Dict({**IMAGE.spaces, "joints": spaces.Box(-1, 1, (32,))})
ACTIONS = spaces.Box(-1, 1, (6,))
SPACES = {"vectors": VECTORS, "image": IMAGE}
EPISODE_ROWS = 512


def make_rows(space: spaces.Dict, count: int, first: bool) -> Columns:
    """`count` random rows in the middle of an episode, or from its beginning."""
    rng = np.random.default_rng(0)
    seen = {key: _random(part, count, rng) for key, part in space.spaces.items()}
    action = rng.random((count, *ACTIONS.shape), np.float32)
    flags = np.zeros(count, np.bool_)
    return seen | {
        "action": action,
        "action_requested": action,
        "reward": rng.random(count, np.float32),
        "is_first": flags if not first else np.arange(count) == 0,
        "is_last": flags,
        "is_terminal": flags,
        "policy_version": np.zeros(count, np.int64),
        "source": np.zeros(count, np.uint8),
        "time_monotonic": np.zeros(count),
        "time_wall": np.zeros(count),
    }


def fill(store: ReplayStore, space: spaces.Dict, rows: int, chunk: int = 16) -> None:
    """Store `rows` rows of one robot in whole episodes of EPISODE_ROWS, a commit each."""
    begins, goes_on = make_rows(space, chunk, True), make_rows(space, chunk, False)
    for start in range(0, rows, EPISODE_ROWS):
        chunks = [
            Chunk("boot", start // EPISODE_ROWS, seq, begins if seq == start else goes_on)
            for seq in range(start, start + EPISODE_ROWS, chunk)
        ]
        store.commit([("robot", one) for one in chunks])


def filled(path: Path, space: spaces.Dict, rows: int, chunk: int = 16) -> ReplayStore:
    """A new store at `path` that holds `rows` rows."""
    store = ReplayStore(path)
    fill(store, space, rows, chunk)
    return store


def _random(space: spaces.Space[Any], count: int, rng: np.random.Generator) -> np.ndarray:
    assert isinstance(space, spaces.Box)
    if space.dtype == np.uint8:
        return rng.integers(0, 256, (count, *space.shape), np.uint8)
    return rng.random((count, *space.shape), np.float32)
