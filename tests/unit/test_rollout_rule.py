"""The roll-out's rule on simulated episodes: it takes evidence, keeps its rate, and finds harm."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from server.evaluation.rule import Played, decide, looks_due
from server.evaluation.settings import RolloutSettings

RULE = RolloutSettings(automatic=True, episodes=10, min_episodes=5, false_alarms=0.05)
PLAYED = st.builds(
    Played,
    st.floats(-100, 100),
    st.integers(0, 5),
    st.floats(0, 1),
    st.booleans(),
)


def played(returns, events=0, moved=0.0):
    return [Played(float(r), events, moved, False) for r in returns]


def test_looks_are_taken_at_the_least_at_the_promotion_and_at_every_doubling():
    due = [looks_due(n, RULE) for n in (0, 4, 5, 9, 10, 19, 20, 39, 40, 80)]
    assert due == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5]
    same = RolloutSettings(episodes=5, min_episodes=5)
    assert [looks_due(n, same) for n in (4, 5, 9, 10)] == [0, 1, 1, 2]
    with pytest.raises(ValidationError, match="at least min_episodes"):
        RolloutSettings(episodes=4, min_episodes=5)


def test_complete_separation_takes_five_episodes_and_says_its_numbers():
    found = decide(played(range(5)), played(range(10, 15)), RULE)
    assert (found.verdict, found.looks) == ("back", 1)
    expected = "returns 2 against 12 over 5 and 5 episodes, p = 0.004 (level 0.0083)"
    assert found.reason == expected


def test_a_candidate_that_is_as_good_or_better_is_promoted_at_its_number_of_episodes():
    baseline = played([1, 2, 3, 4, 5])
    assert decide(played([3] * 5), baseline, RULE).verdict == "wait"
    for level in (3, 300):
        found = decide(played([level] * 10), baseline, RULE, looked=1)
        assert (found.verdict, found.looks) == ("promote", 2)


def test_safety_and_moves_count_though_returns_are_better():
    good = played(range(10, 15))
    unsafe = decide(played(range(20, 25), events=2), good, RULE)
    assert unsafe.verdict == "back"
    assert unsafe.reason.startswith("safety events 2 against 0")
    moved = decide(played(range(20, 25), moved=0.5), good, RULE)
    assert moved.reason.startswith("moves by the limits 0.5 against 0")


def test_episodes_that_were_cut_count_for_safety_alone():
    stopped = [Played(-1000.0, 1, 0.0, True)] * 5
    assert decide(stopped, played(range(5)), RULE).verdict == "back"
    harmless = [Played(-1000.0, 0, 0.0, True)] * 40
    assert decide(harmless, played(range(5)), RULE).verdict == "wait"
    assert decide(harmless + played(range(9)), played(range(5)), RULE, 1).verdict == "wait"
    assert decide(harmless + played(range(10)), played(range(5)), RULE, 1).verdict == "promote"
    unsafe = [Played(-1000.0, 1, 0.0, True)]  # the next look is at twenty
    ten = decide(unsafe + played(range(9)), played(range(5)), RULE, 1)
    assert (ten.verdict, ten.looks) == ("wait", 2)
    assert decide(unsafe + played(range(10)), played(range(5)), RULE, 2).verdict == "wait"


def test_a_tolerance_lets_a_little_worse_pass():
    candidate, baseline = played(range(5)), played(range(6, 11))
    assert decide(candidate, baseline, RULE).verdict == "back"
    lenient = RULE.model_copy(update={"tolerance": 6.0})
    assert decide(candidate, baseline, lenient).verdict == "wait"


@settings(max_examples=200, deadline=None)
@given(st.lists(PLAYED, max_size=8), st.lists(PLAYED, max_size=8), st.integers(0, 2))
def test_nothing_is_taken_back_without_the_least_evidence(candidate, baseline, looked):
    found = decide(candidate, baseline, RULE, looked)
    assert found.looks >= looked
    if found.verdict == "back":
        assert min(len(candidate), len(baseline)) >= RULE.min_episodes
    if found.verdict == "promote":
        assert sum(not each.cut for each in candidate) >= RULE.episodes
    if len(candidate) < RULE.min_episodes or len(baseline) < RULE.min_episodes:
        assert found.verdict == "wait"


DISTRIBUTIONS = {
    "normal": lambda rng, n: rng.normal(0, 1, n),
    "skewed": lambda rng, n: -rng.exponential(1, n),
    "success or failure": lambda rng, n: rng.integers(0, 2, n).astype(float),
}


def outcome(rng, draw, shift, episodes):
    """What becomes of a version that is watched over so many episodes, and when."""
    rule = RolloutSettings(episodes=6, min_episodes=4, false_alarms=0.2)
    baseline = played(draw(rng, 8))
    candidate = played(draw(rng, episodes) - shift)
    looks = 0
    for count in range(1, episodes + 1):
        found = decide(candidate[:count], baseline, rule, looks)
        looks = found.looks
        if found.verdict == "back":
            return count
    return None


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_equal_versions_are_rolled_back_no_more_often_than_stated(name):
    rng, trials = np.random.default_rng(1), 200
    backs = [outcome(rng, DISTRIBUTIONS[name], 0.0, 12) is not None for _ in range(trials)]
    assert sum(backs) / trials <= 0.2  # the bound is not sharp: no slack is needed


def test_a_version_that_is_clearly_worse_goes_back_before_it_is_promoted():
    rng, trials = np.random.default_rng(2), 200
    ends = [outcome(rng, DISTRIBUTIONS["normal"], 4.0, 6) for _ in range(trials)]
    assert sum(end is not None for end in ends) / trials >= 0.99
