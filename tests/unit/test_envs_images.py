"""Making pictures smaller."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.envs.images import Shrink


def noise(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def test_a_whole_number_of_pixels_becomes_their_mean():
    picture = np.array([[0, 10, 20, 30], [2, 12, 22, 34]], np.uint8)[..., None]
    assert Shrink((2, 4), (1, 2))(picture)[..., 0].tolist() == [[6, 26]]  # 26.5 is rounded to even


def test_pixels_on_an_edge_count_by_their_share():
    picture = np.array([[0, 90, 240]], np.uint8)[..., None]
    # the first of two pixels covers 1.5: (0 + 0.5 * 90) / 1.5; the other (0.5 * 90 + 240) / 1.5
    assert Shrink((1, 3), (1, 2))(picture)[..., 0].tolist() == [[30, 190]]


def test_the_same_size_changes_nothing():
    picture = noise(5, 7)
    assert np.array_equal(Shrink((5, 7), (5, 7))(picture), picture)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(1, 40)] * 2), st.data())
def test_brightness_stays_and_one_colour_stays_one_colour(size, data):
    to = tuple(data.draw(st.integers(1, length)) for length in size)
    shrink = Shrink(size, to)
    assert (shrink(np.full((*size, 3), 77, np.uint8)) == 77).all()
    picture = noise(*size)
    small = shrink(picture)
    assert small.shape == (*to, 3)
    assert small.dtype == np.uint8
    assert abs(small.mean() - picture.mean()) <= 0.5  # rounding


@pytest.mark.parametrize("to", [(65, 64), (0, 64)])
def test_it_does_not_enlarge(to):
    with pytest.raises(ValueError, match="to: expected at most"):
        Shrink((64, 64), to)


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"expected \(8, 8, C\), got \(9, 8, 3\)"):
        Shrink((8, 8), (4, 4))(noise(9, 8))
