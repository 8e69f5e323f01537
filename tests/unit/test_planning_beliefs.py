from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from robot_client.planning.beliefs import (
    UNIFORM,
    Anywhere,
    Categorical,
    Gaussian,
    coloured,
    shift,
)
from robot_client.planning.model import Actions, Model, evaluate, one_hot

BOX = Actions.of(spaces.Box(-1.0, 1.0, (1,), np.float32))


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def test_a_gaussian_is_refitted_to_weighted_mean_and_population_deviation() -> None:
    belief = Gaussian(column(0, 0), column(1, 1), BOX)
    plans = np.stack([column(1, 4), column(3, 4)])
    found = belief.refit(plans, np.array([0.25, 0.75]))
    np.testing.assert_allclose(found.location, column(2.5, 4))
    np.testing.assert_allclose(found.std, column(np.sqrt(0.75), 0), rtol=1e-6)


def test_momentum_keeps_a_share_of_the_old_and_the_deviation_has_a_floor() -> None:
    belief = Gaussian(column(1), column(2), BOX, momentum=0.1, min_std=0.5)
    found = belief.refit(np.stack([column(3), column(3)]), np.array([0.5, 0.5]))
    np.testing.assert_allclose(found.location, column(0.1 * 1 + 0.9 * 3))
    np.testing.assert_allclose(found.std, column(0.5))


def test_gaussian_plans_are_clipped_to_the_bounds_where_there_are_some() -> None:
    low, high = (np.array(b, np.float32) for b in ([2, -np.inf, 0], [4, np.inf, np.inf]))
    space = spaces.Box(low, high)
    actions = Actions.of(space)
    zeros = np.zeros((4, 3), np.float32)
    plans = Gaussian(zeros, zeros + 5, actions).sample(np.random.default_rng(0), 200)
    np.testing.assert_array_equal([plans[..., 0].min(), plans[..., 0].max()], [-1, 1])
    assert plans[..., 1].min() < -2
    assert plans[..., 2].min() == 0
    assert plans[..., 2].max() > 2
    np.testing.assert_allclose(actions.decode(np.array([-1, 7, 7], np.float32)), [2, 7, 7])
    np.testing.assert_allclose(actions.decode(np.array([9, -7, -7], np.float32)), [4, -7, 0])


def test_chances_are_refitted_to_weighted_counts_and_none_is_lost() -> None:
    belief = Categorical(np.array([[0.5, 0.25, 0.25]], np.float32), momentum=0.2)
    plans = one_hot(np.array([[0], [1]]), 3)
    found = belief.refit(plans, np.array([0.25, 0.75]))
    raw = 0.2 * np.array([0.5, 0.25, 0.25]) + 0.8 * np.array([0.25, 0.75, 0])
    expected = (1 - UNIFORM) * raw + UNIFORM / 3
    np.testing.assert_allclose(found.location, [expected], rtol=1e-6)
    np.testing.assert_array_equal(found.mode(), [[0, 1, 0]])


def test_choices_are_drawn_by_their_chances() -> None:
    chances = np.array([[0.7, 0.2, 0.1], [0, 0, 1]], np.float32)
    plans = Categorical(chances).sample(np.random.default_rng(0), 20_000)
    np.testing.assert_allclose(plans.mean(0), chances, atol=0.01)
    np.testing.assert_array_equal(plans.sum(-1), 1)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("horizon", [15, 16])
def test_coloured_noise_has_variance_one_and_its_power_falls_as_asked(
    exponent: float, horizon: int
) -> None:
    noise = coloured(np.random.default_rng(0), (20_000, horizon, 1), exponent)[..., 0]
    np.testing.assert_allclose(noise.std(0), 1, atol=0.03)
    power = (np.abs(np.fft.rfft(noise)) ** 2).mean(0)
    frequency = np.fft.rfftfreq(horizon)[1:]
    expected = power[1] * (frequency / frequency[0]) ** -exponent
    np.testing.assert_allclose(power[1:], expected, rtol=0.05)
    np.testing.assert_allclose(power[0], power[1], rtol=0.05)


def test_coloured_noise_of_one_step_is_normal() -> None:
    noise = coloured(np.random.default_rng(0), (20_000, 1, 2), 2.0)
    np.testing.assert_allclose(noise.std((0, 1)), 1, atol=0.03)


def test_a_plan_a_step_on_repeats_its_last_action() -> None:
    plans = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    np.testing.assert_array_equal(shift(plans)[0], [[2, 3], [4, 5], [4, 5]])
    np.testing.assert_array_equal(shift(plans[:, :1]), plans[:, :1])


def test_shooting_is_uniform_between_bounds_and_normal_without() -> None:
    space = spaces.Box(np.array([0, -np.inf], np.float32), np.array([9, np.inf], np.float32))
    zeros = np.zeros((3, 2), np.float32)
    plans = Anywhere(zeros, 2.0, Actions.of(space)).sample(np.random.default_rng(0), 20_000)
    np.testing.assert_allclose(plans[..., 0].std(), np.sqrt(1 / 3), atol=0.01)
    np.testing.assert_allclose(np.abs(plans[..., 0]).max(), 1, atol=0.01)
    np.testing.assert_allclose(plans[..., 1].std(), 2, atol=0.03)


def test_a_box_of_two_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="one axis"):
        Actions.of(spaces.Box(-1, 1, (2, 2)))


def test_a_return_is_discounted_ended_and_bootstrapped() -> None:
    def imagine(state, action, rng):
        time = state["t"] + 1
        return {"t": time}, action[:, 0] * time, np.where(time == 2, [1.0, 0.0], 1.0)

    model = Model(imagine, value=lambda state: 100 * np.ones(2), discount=0.5)
    plans = np.ones((2, 3, 1), np.float32)
    _, returns, steps = evaluate(
        model,
        {"t": np.zeros(2)},
        lambda step, _: plans[:, step],
        3,
        np.random.default_rng(0),
        lambda: False,
    )
    # Of two rows the second ends after its second step: nothing that follows counts.
    np.testing.assert_allclose(returns, [1 + 2 / 2 + 3 / 4 + 100 / 8, 1 + 2 / 2])
    assert steps == 3


def test_a_future_that_diverges_is_the_worst() -> None:
    def imagine(state, action, rng):
        return state, np.array([np.nan, np.inf, -1e9]), np.ones(3)

    _, returns, _ = evaluate(
        Model(imagine),
        {"t": np.zeros(3)},
        lambda *_: np.zeros((3, 1), np.float32),
        1,
        np.random.default_rng(0),
        lambda: False,
    )
    np.testing.assert_array_equal(returns, [-np.inf, -np.inf, -1e9])
