"""Ground and pushes, which any walking robot may meet."""

import numpy as np
import pytest

from sim.engine import Camera, Engine, empty
from sim.pushes import PAUSE_S, PUSH_S, Pusher
from sim.terrain import CELL, CELLS, Ground


@pytest.fixture
def world():
    world = Engine()
    empty(world, 1000)
    yield world
    world.disconnect()


def seen(world: Engine, x: float, y: float) -> float:
    """Height of what a falling stone would hit."""
    hit: float = world.rayTest([x, y, 5], [x, y, -5])[0][3][2]
    return hit


def test_a_plane_is_flat(world):
    ground = Ground(world, 0.0, np.random.default_rng(0))
    assert ground.highest(1.0, 2.0, 0.5) == ground.lowest(1.0, 2.0, 0.5) == 0
    assert seen(world, 1.0, 2.0) == pytest.approx(0)


def test_hills_are_where_they_are_said_to_be(world):
    ground = Ground(world, 0.3, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for x, y in rng.uniform(-5.5, 5.5, (50, 2)):
        assert ground.lowest(x, y, 0) - 1e-6 <= seen(world, x, y) <= ground.highest(x, y, 0) + 1e-6
    heights = [
        seen(world, i * CELL, j * CELL)
        for i, j in rng.integers(-CELLS // 2 + 2, CELLS // 2 - 1, (50, 2))
    ]
    assert 0 <= min(heights) < 0.1
    assert 0.2 < max(heights) <= 0.3


def test_hills_look_as_they_collide(world):
    Ground(world, 0.3, np.random.default_rng(0))
    camera = Camera((0, 0, 4), (0, 0, 0), (0, 1, 0), view_deg=30, near=3, far=5, pixels=65)
    distances = camera.picture(world)[1]
    metres = 2 * np.tan(np.radians(15)) / 65  # of a pixel, per metre of distance
    for row, column in ((32, 32), (10, 50), (60, 5), (40, 20)):
        distance = distances[row, column]
        x, y = (column - 32) * metres * distance, (32 - row) * metres * distance
        assert 4 - distance == pytest.approx(seen(world, x, y), abs=0.02)


def test_a_wider_look_finds_higher_and_lower_points(world):
    ground = Ground(world, 0.3, np.random.default_rng(0))
    for radius in (0.3, 1.0, 9.0):
        assert ground.highest(0.1, 0.1, radius) >= ground.highest(0.1, 0.1, radius / 2)
        assert ground.lowest(0.1, 0.1, radius) <= ground.lowest(0.1, 0.1, radius / 2)
    assert ground.highest(50.0, -50.0, 0.1) <= 0.3  # beyond the edge: as at the edge


def test_the_generator_alone_decides_about_hills(world):
    first = Ground(world, 0.3, np.random.default_rng(3)).highest(0, 0, 0.1)
    again = Ground(world, 0.3, np.random.default_rng(3)).highest(0, 0, 0.1)
    other = Ground(world, 0.3, np.random.default_rng(4)).highest(0, 0, 0.1)
    assert first == again != other


def test_pushes_have_their_strength_length_and_pace():
    pusher, rng = Pusher(50.0, 20.0), np.random.default_rng(0)
    steps = 20_000
    forces = [pusher.force(rng) for _ in range(steps)]
    there = np.array([force is not None for force in forces])
    pushes = np.array([force for force in forces if force is not None])
    assert np.linalg.norm(pushes, axis=1) == pytest.approx(50)
    assert (pushes[:, 2] == 0).all()
    assert np.abs(pushes.mean(0)).max() < 10  # from everywhere
    assert there.mean() == pytest.approx(PUSH_S / (PUSH_S + PAUSE_S), rel=0.2)
    starts = np.flatnonzero(np.diff(there.astype(int)) == 1)
    ends = np.flatnonzero(np.diff(there.astype(int)) == -1)
    assert (ends[: starts.size] - starts[: ends.size] >= round(PUSH_S * 20)).all()


def test_without_strength_nobody_pushes_and_nothing_is_drawn():
    pusher, rng = Pusher(0.0, 20.0), np.random.default_rng(0)
    assert all(pusher.force(rng) is None for _ in range(100))
    assert rng.random() == np.random.default_rng(0).random()
