"""What varies of a simulated world, and by how much."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.engine import Camera, Engine, Light, box, empty
from sim.variation import Variation, World

SHARES = st.floats(0.0, 0.99)


@given(mass=SHARES, friction=SHARES, light=SHARES, seed=st.integers(0, 2**32))
def test_factors_stay_within_their_shares(
    mass: float, friction: float, light: float, seed: int
) -> None:
    world = Variation(mass, friction, light).draw(np.random.default_rng(seed))
    assert abs(world.mass - 1) <= mass
    assert abs(world.friction - 1) <= friction
    assert abs(world.brightness - 1) <= light
    assert max(map(abs, world.lean)) <= light
    assert min(world.mass, world.friction, world.brightness) > 0


def test_by_default_nothing_varies_and_the_light_is_noons() -> None:
    world = Variation().draw(np.random.default_rng(0))
    assert world == World()
    assert world.light(0.0) == world.light(1e6) == Light()


def test_each_draw_takes_as_many_numbers_whatever_varies() -> None:
    left, right = np.random.default_rng(3), np.random.default_rng(3)
    Variation().draw(left)
    Variation(0.5, 0.5, 0.5, 60.0).draw(right)
    assert left.random() == right.random()


@pytest.mark.parametrize(
    ("seconds", "colour"),
    [
        (0, (0.1875, 0.2125, 0.25)),  # a quarter of a bluish white
        (50, (0.7, 0.525, 0.35)),
        (100, (1, 1, 1)),
        (150, (0.7, 0.525, 0.35)),  # the sun sets again
        (200, (0.1875, 0.2125, 0.25)),
    ],
)
def test_the_sun_rises_over_an_orange_dawn(seconds: float, colour: tuple[float, ...]) -> None:
    assert World(sunrise_s=100.0).light(seconds).colour == pytest.approx(colour)


def test_a_brighter_world_is_brighter_at_noon_too() -> None:
    assert World(brightness=1.5).light(0.0).colour == (1.5, 1.5, 1.5)


@pytest.mark.parametrize(
    ("name", "value"), [("mass", 1.0), ("friction", -0.1), ("light", np.nan), ("sunrise_s", -1.0)]
)
def test_what_makes_no_sense_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"vary\.{name}: expected a number in \[0"):
        Variation(**{name: value})


def test_a_picture_is_lit_in_proportion_and_saturates() -> None:
    world = Engine()
    empty(world, 240)
    box(world, (0.5, 0.5, 0.5), (0, 0, 0), (0.8, 0.6, 0.4, 1.0))
    camera = Camera(eye=(0, -2, 1), target=(0, 0, 0), pixels=16)
    noon = camera.picture(world)[0].astype(float)
    dusk = camera.picture(world, Light((0.5, 0.25, 1.0)))[0]
    glare = camera.picture(world, Light((1.9, 1.9, 1.9)))[0]
    world.disconnect()
    np.testing.assert_allclose(dusk, noon * [0.5, 0.25, 1.0], atol=0.51)
    np.testing.assert_allclose(glare, np.minimum(noon * 1.9, 255), atol=0.51)
