"""Intervals and tests of means: exact values, and what they promise over many seeded samples."""

import math
from itertools import combinations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from server.evaluation.statistics import estimate, estimate_of, student_quantile, worse

NUMBERS = st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("share", "freedom", "expected"),
    [  # one and two degrees have closed forms, the others are those of any printed table
        (0.975, 1, math.tan(math.pi * 0.475)),
        (0.95, 1, math.tan(math.pi * 0.45)),
        (0.975, 2, 0.95 * math.sqrt(2 / (1 - 0.95**2))),
        (0.975, 4, 2.776445105),
        (0.975, 9, 2.262157163),
        (0.95, 5, 2.015048373),
        (0.995, 10, 3.169272673),
        (0.975, 1000, 1.962339081),
    ],
)
def test_quantiles_of_student(share, freedom, expected):
    assert student_quantile(share, freedom) == pytest.approx(expected, rel=1e-9)


def test_an_interval_by_hand():
    found = estimate_of([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776445105 * math.sqrt(2.5) / math.sqrt(5)
    assert (found.episodes, found.mean) == (5, 3.0)
    assert (found.lower, found.upper) == pytest.approx((3 - half, 3 + half))
    assert estimate(5, 3.0, 10.0) == found
    assert estimate_of([7.0]) == (1, 7.0, None, None)
    assert estimate_of([]) is None
    assert estimate_of([2.0, 2.0]) == (2, 2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("draw", "true"),
    [
        (lambda rng, size: rng.normal(3.0, 2.0, size), 3.0),
        (lambda rng, size: rng.uniform(0.0, 1.0, size), 0.5),
    ],
)
@pytest.mark.parametrize("episodes", [3, 5, 20])
def test_intervals_hold_the_true_mean_as_often_as_they_say(draw, true, episodes):
    rng, trials = np.random.default_rng(episodes), 3000
    samples = draw(rng, (trials, episodes))
    means = samples.mean(1)
    squares = ((samples - means[:, None]) ** 2).sum(1)
    found = [estimate(episodes, m, s) for m, s in zip(means, squares, strict=True)]
    share = sum(e.lower <= true <= e.upper for e in found) / trials
    slack = 0.03 if episodes == 3 else 0.013  # three uniform numbers are not quite normal
    assert 0.95 - slack <= share <= 0.95 + slack


def test_p_values_by_hand():
    assert worse([1, 2, 3], [4, 5, 6]) == 1 / 20
    assert worse([4, 5, 6], [1, 2, 3]) == 1.0
    assert worse([1, 2, 4], [3, 5, 6]) == 2 / 20
    assert worse([7] * 4, [7] * 9) == 1.0
    assert worse([1, 2, 3], [4, 5, 6], margin=3) == worse([4, 5, 6], [4, 5, 6])


@settings(max_examples=50, deadline=None)
@given(NUMBERS, NUMBERS, st.integers(0, 20).map(float))
def test_a_p_value_is_the_share_of_deals_that_are_as_bad(candidate, baseline, margin):
    pooled = [value + margin for value in candidate] + baseline
    sums = [sum(part) for part in combinations(pooled, len(candidate))]
    happened = sum(pooled[: len(candidate)])
    expected = sum(total <= happened for total in sums) / len(sums)
    assert worse(candidate, baseline, margin) == pytest.approx(expected)
    assert worse(candidate, baseline, margin + 5) >= worse(candidate, baseline, margin) - 1e-9


def test_drawn_deals_agree_with_all_of_them_and_with_themselves():
    rng = np.random.default_rng(0)
    candidate, baseline = list(rng.normal(0, 1, 12)), list(rng.normal(0.8, 1, 12))
    found = worse(candidate, baseline)
    assert found == worse(candidate, baseline)
    pooled = np.concatenate([candidate, baseline])
    every = np.array([pooled[list(c)].sum() for c in combinations(range(24), 3)])
    few = worse(list(pooled[:3]), list(pooled[3:]))
    assert few == pytest.approx((every <= pooled[:3].sum() + 1e-9).mean())
    deviation = (np.var(candidate) + np.var(baseline)) / 12
    z = (np.mean(candidate) - np.mean(baseline)) / math.sqrt(deviation)
    assert found == pytest.approx(0.5 * math.erfc(-z / math.sqrt(2)), abs=0.03)
    assert worse([0.0] * 50, [1.0] * 50) == 1 / 10_000
