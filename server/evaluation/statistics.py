"""What few episodes tell of a mean: an interval for one, and a test of one against another.

The interval is Student's: exact for normal returns, and near it for others, since the mean of a few
episodes is already close to normal (W. S. Gosset, "The probable error of a mean", Biometrika 6,
1908). The test permutes: if two versions were the same, every way of dealing their episodes to the
two would be as likely as the one that happened, whatever the returns' distribution (E. J. G.
Pitman, "Significance tests which may be applied to samples from any populations", 1937). Its
false-alarm rate is thus at most the level asked for, with five episodes as with five hundred.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
_EXACT = 20_000  # ways of dealing that are all tried; of more, DRAWN are drawn at random
_DRAWN = 9_999
_SEED = 0x5EED  # of those draws: the same episodes always give the same answer

Numbers = NDArray[np.float64]


class Estimate(NamedTuple):
    """A mean of `episodes` values, and where the true one lies with CONFIDENCE.

    The bounds are None for fewer than two values.
    """

    episodes: int
    mean: float
    lower: float | None
    upper: float | None


def estimate(episodes: int, mean: float, squares: float) -> Estimate:
    """From a sample's size, its mean, and its sum of squared differences from that mean."""
    if episodes < 2:
        return Estimate(episodes, mean, None, None)
    deviation = math.sqrt(max(0.0, squares) / (episodes - 1))
    half = student_quantile((1 + CONFIDENCE) / 2, episodes - 1) * deviation / math.sqrt(episodes)
    return Estimate(episodes, mean, mean - half, mean + half)


def estimate_of(values: Sequence[float]) -> Estimate | None:
    """From the values themselves; None when there are none."""
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    return estimate(len(values), mean, math.fsum((v - mean) ** 2 for v in values))


@functools.lru_cache(4096)
def student_quantile(share: float, freedom: int) -> float:
    """The number that a Student variable of `freedom` degrees is under with probability `share`.

    By bisection of the distribution, to ten digits.
    """
    assert 0.5 <= share < 1, share
    assert freedom >= 1, freedom
    high = 1.0
    while _student_tail(high, freedom) > 1 - share:
        high *= 2
    low = 0.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_tail(middle, freedom) > 1 - share else (low, middle)
    return (low + high) / 2


def worse(candidate: Sequence[float], baseline: Sequence[float], margin: float = 0.0) -> float:
    """Probability of a candidate as bad as this, or worse, if it were in truth `margin` under the
    baseline: the one-sided p-value of the difference of means.

    All ways of dealing the values are tried where they are few. Otherwise some are drawn, and the
    one that happened counts with them, so that the level still holds (B. Phipson and G. K. Smyth,
    "Permutation p-values should never be zero", 2010, equation 2).
    """
    assert candidate, "no episodes of the candidate"
    assert baseline, "no episodes of the baseline"
    pooled = np.concatenate([np.asarray(candidate, float) + margin, np.asarray(baseline, float)])
    count = len(candidate)
    if pooled.min() == pooled.max():
        return 1.0  # all ways of dealing are the same
    happened = float(pooled[:count].sum())
    slack = 1e-9 * max(1.0, float(np.abs(pooled).sum()))  # equal sums differ in their last digits
    if math.comb(len(pooled), count) <= _EXACT:
        sums = _all_sums(pooled, count)
        return float((sums <= happened + slack).mean())
    sums = _drawn_sums(pooled, count)
    return float((1 + (sums <= happened + slack).sum()) / (1 + _DRAWN))


def _all_sums(pooled: Numbers, count: int) -> Numbers:
    chosen = np.array(list(combinations(range(len(pooled)), count)))
    found: Numbers = pooled[chosen].sum(1)
    return found


def _drawn_sums(pooled: Numbers, count: int) -> Numbers:
    rng = np.random.default_rng(_SEED)
    order = rng.random((_DRAWN, len(pooled))).argpartition(count - 1, axis=1)
    found: Numbers = pooled[order[:, :count]].sum(1)
    return found


def _student_tail(t: float, freedom: int) -> float:
    """Probability that a Student variable exceeds t >= 0; half of an incomplete beta function."""
    return 0.5 * _beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def _beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function (DLMF 8.17.22), by its continued fraction."""
    if not 0 < x < 1:
        return max(0.0, min(1.0, x))
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly
        return 1 - _beta(1 - x, b, a)
    scale = a * math.log(x) + b * math.log1p(-x)
    scale += math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(scale) / (a * _fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1 x / (1 + d2 x / (1 + ...)) from the far end: the terms of DLMF 8.17.22."""
    value = 1.0
    for m in range(200, -1, -1):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)) if m else 0.0
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        value = 1 + odd / value if m == 0 else 1 + even / (1 + odd / value)
    return value
