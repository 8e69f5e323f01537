"""The command that draws dreams, with an agent that has hardly learned."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from benchmarks.dream_pictures import World, report, save
from tests.unit.test_world_models_lockstep import TINY


def test_what_is_seen_and_dreamt_is_drawn(tmp_path: Any) -> None:
    world = World("gym:dreamfleet/PixelCartPole-v0", None, 200, 0.25, TINY)
    films = report(world, seed=0)
    assert set(films) == {"seen", "dreamt"}
    for name, film in films.items():
        assert film.dtype == np.uint8
        assert film.ndim == 4
        save(film, tmp_path / name)
        with Image.open(tmp_path / f"{name}.gif") as drawn:
            assert drawn.n_frames == len(film)  # type: ignore[attr-defined]
        assert (tmp_path / f"{name}.png").stat().st_size > 0
    truth, made = np.split(films["seen"], 2, axis=1)
    assert truth.max() > 200  # the cart
    assert not np.array_equal(truth, made)
