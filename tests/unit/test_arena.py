"""What a Sphero's twin and driver share: the ball in the picture, the reward, the reset moves."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from robot_client.errors import RobotError, SchemaError
from robot_client.robots import arena
from robot_client.robots.arena import GOAL, Look, Referee

ORANGE = (250, 90, 30)
BYTE = st.integers(0, 255)


def picture(
    row: int | None = None, column: int = 0, size: int = 4, colour: tuple[int, ...] = ORANGE
) -> NDArray[np.uint8]:
    """Grey, with a square of that colour whose first pixel is given."""
    pixels = np.full((arena.PIXELS, arena.PIXELS, 3), 70, np.uint8)
    if row is not None:
        pixels[row : row + size, column : column + size] = colour
    return pixels


@given(red=BYTE, green=BYTE, blue=BYTE)
def test_hue_saturation_and_value_are_the_standard_librarys(
    red: int, green: int, blue: int
) -> None:
    found = arena.hsv(np.array([[[red, green, blue]]], np.uint8))[0, 0]
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    assert found == pytest.approx([hue * 360, saturation, value], abs=1e-3)


@pytest.mark.parametrize(
    ("hue", "seen"), [((350.0, 35.0), True), ((10.0, 20.0), True), ((20.0, 10.0), False)]
)
def test_a_range_of_hues_may_go_over_red(hue: tuple[float, float], seen: bool) -> None:
    assert Look(hue=hue).mask(picture(8, 8)).any() == seen  # its hue is 16 degrees


@given(row=st.integers(0, 60), column=st.integers(0, 60), size=st.integers(2, 4))
def test_the_position_is_the_middle_of_the_pixels_with_y_upwards(
    row: int, column: int, size: int
) -> None:
    found = Look().position(picture(row, column, size))
    assert found is not None
    expected = [(column + size / 2) / 64, 1 - (row + size / 2) / 64]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_the_arenas_edges_are_zero_and_one() -> None:
    look = Look(left=0.25, right=0.75, bottom=0.125, top=0.625)
    corner = look.position(picture(54, 14))  # its middle is at (16, 56) of 64
    assert corner is not None
    assert corner.tolist() == pytest.approx([0, 0], abs=1e-6)
    corner = look.position(picture(22, 46))
    assert corner is not None
    assert corner.tolist() == pytest.approx([1, 1], abs=1e-6)


def test_noise_dim_or_pale_pixels_and_other_hues_are_no_ball() -> None:
    assert Look(least_pixels=4).position(picture(5, 5, size=1)) is None
    assert Look().position(picture(5, 5, colour=(9, 3, 1))) is None
    assert Look().position(picture(5, 5, colour=(250, 180, 150))) is None
    assert Look().position(picture(5, 5, colour=(30, 220, 50))) is None
    assert Look().position(picture()) is None


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"saturation": 1.5}, "look.saturation"),
        ({"hue": (0.0, 360.0)}, "look.hue"),
        ({"left": 0.6, "right": 0.5}, "look"),
        ({"least_pixels": 0}, "look.least_pixels"),
    ],
)
def test_a_look_that_makes_no_sense_is_refused(options: dict[str, float], field: str) -> None:
    with pytest.raises(SchemaError) as refused:
        Look(**options)  # type: ignore[arg-type]
    assert refused.value.field == field


def test_the_reward_is_minus_the_distance_in_the_same_picture_and_none_at_first() -> None:
    referee = Referee()
    seen = picture(20, 12)  # its middle: (14, 22) of 64, from above
    first, later = referee.reading(seen, first=True), referee.reading(seen, first=False)
    distance = np.hypot(14 / 64 - 0.825, 1 - 22 / 64 - 0.165)
    assert first.reward == 0
    assert later.reward == pytest.approx(-distance, abs=1e-6)
    assert later.info == {"distance": -later.reward, "success": False, "seen": True}
    assert later.obs["camera"] is seen


def test_success_is_within_a_tenth_of_the_goal() -> None:
    column, row = round(GOAL[0] * 64) - 2, round((1 - GOAL[1]) * 64) - 2
    referee = Referee()
    assert referee.reading(picture(row, column), first=False).info["success"]
    assert referee.reading(picture(row, column - 6), first=False).info["success"]
    assert not referee.reading(picture(row, column - 7), first=False).info["success"]


def test_a_hidden_ball_counts_as_where_it_was_seen_last() -> None:
    referee = Referee()
    with pytest.raises(RobotError, match="not in the picture"):
        referee.reading(picture(), first=True)
    seen = referee.reading(picture(30, 30), first=True)
    hidden = referee.reading(picture(), first=False)
    assert hidden.info == {**seen.info, "seen": False}
    referee.forget()
    with pytest.raises(RobotError, match="not in the picture"):
        referee.reading(picture(), first=False)


def test_a_reset_is_five_moves_of_full_power_and_four_seconds_of_rest() -> None:
    *moves, (last, settling) = arena.reset_moves(np.random.default_rng(0))
    assert [seconds for _, seconds in moves] == [1.0] * 5
    assert all(np.abs(action).max() == 1 for action, _ in moves)
    assert len({tuple(action) for action, _ in moves}) == 5
    assert (last.tolist(), settling) == ([0, 0], 4.0)
    again = arena.reset_moves(np.random.default_rng(0))
    assert all((a == b).all() for (a, _), (b, _) in zip(moves, again, strict=False))


@pytest.mark.parametrize(
    ("action", "powers"), [((0, 0), (0, 0)), ((1, -1), (70, -70)), ((0.5, -3), (35, -70))]
)
def test_powers_are_seventy_of_255_at_most(
    action: tuple[float, float], powers: tuple[int, int]
) -> None:
    assert arena.motor_powers(np.array(action, np.float32)) == powers


@pytest.mark.parametrize("action", [np.zeros(3), np.array([0, np.nan])])
def test_an_action_that_is_not_two_finite_numbers_is_refused(action: NDArray[np.float64]) -> None:
    with pytest.raises(RobotError, match="two finite numbers"):
        arena.motor_powers(action)


def test_neither_position_nor_heading_is_observed() -> None:
    assert set(arena.observation_space().spaces) == {"camera"}
    assert arena.observation_space()["camera"].shape == (64, 64, 3)
    assert arena.TASK.episode_steps == 100
