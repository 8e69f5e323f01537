"""With less time a plan is worse, never absent, and never late."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robot_client.bundle import PlanSettings
from robot_client.clock import ManualClock
from robot_client.planning.budget import FEWEST
from robot_client.planning.model import Actions, Floats, Model, State
from robot_client.planning.planner import Decision, Memory, Planner
from tests.unit.plan_tasks import LEFT_OR_RIGHT, POINT, point_mass, push

ROW_STEP = 1e-5  # seconds to imagine a step of one plan
METHODS = pytest.mark.parametrize("method", ["shooting", "cem", "mppi", "icem"])


class Slow:
    """The point mass at a fixed price, on a clock that only imagination moves."""

    def __init__(self, price: float = ROW_STEP) -> None:
        self.clock, self.price = ManualClock(), price
        self.model = Model(self.imagine)

    def imagine(
        self, state: State, action: Floats, rng: np.random.Generator
    ) -> tuple[State, Floats, Floats]:
        self.clock.advance(self.price * len(action))
        return push(state, action, rng)


def settings(method: Any = "cem", **fields: Any) -> PlanSettings:
    usual = {"horizon": 10, "candidates": 200, "iterations": 5, "elites": 20, "warm_start": True}
    return PlanSettings(method, **{**usual, **fields})


def start() -> State:
    return point_mass().start(np.random.default_rng(0))


def decide(
    slow: Slow, planner: Planner, memory: Memory, budget: float | None, seed: int = 0
) -> tuple[Decision, float]:
    """A decision, and how long it took."""
    began = slow.clock.monotonic()
    deadline = None if budget is None else began + budget
    rng = np.random.default_rng(seed)
    decision = planner.decide(start(), memory, rng, slow.clock, deadline)
    return decision, slow.clock.monotonic() - began


@METHODS
def test_less_time_means_fewer_plans_and_a_worse_one_but_never_a_late_one(method: str) -> None:
    done, expected = [], []
    for budget in (0.1, 0.02, 0.005, 0.002):
        slow = Slow()
        planner = Planner(slow.model, Actions.of(POINT), settings(method))
        found = [decide(slow, planner, planner.fresh(ROW_STEP), budget, seed) for seed in range(10)]
        assert max(took for _, took in found) <= budget
        assert all(d.plan.shape == (10, 2) for d, _ in found)
        done.append(np.mean([d.candidates for d, _ in found]))
        expected.append(np.mean([d.expected for d, _ in found]))
    assert done == sorted(done, reverse=True)
    assert done[0] > 500
    assert done[-1] < 25
    assert expected == sorted(expected, reverse=True), expected


def test_a_known_pace_spreads_the_time_over_all_iterations() -> None:
    slow = Slow()
    planner = Planner(slow.model, Actions.of(POINT), settings())
    decision, took = decide(slow, planner, planner.fresh(ROW_STEP), 0.02)
    assert decision.iterations == 5
    assert took > 0.8 * 0.02 * 0.9
    assert 20 <= decision.candidates / 5 <= 40


def test_all_is_done_when_there_is_time() -> None:
    slow = Slow()
    planner = Planner(slow.model, Actions.of(POINT), settings())
    decision, _ = decide(slow, planner, planner.fresh(ROW_STEP), 10.0)
    assert (decision.candidates, decision.iterations) == (1000, 5)


def test_an_unknown_pace_is_measured_first() -> None:
    slow = Slow()
    planner = Planner(slow.model, Actions.of(POINT), settings())
    decision, took = decide(slow, planner, planner.fresh(), 0.02)
    assert took <= 0.02
    assert decision.candidates > 100
    assert decision.memory.pace == pytest.approx(ROW_STEP)


def test_a_model_far_too_slow_is_broken_off_within_one_imagined_step() -> None:
    slow = Slow(price=1e-3)
    planner = Planner(slow.model, Actions.of(POINT), settings())
    decision, took = decide(slow, planner, planner.fresh(), 0.02)
    assert decision.candidates == 0
    assert np.isnan(decision.expected)
    assert took <= 0.02 + 1e-3 * FEWEST
    np.testing.assert_array_equal(decision.plan, 0)
    again, took = decide(slow, planner, decision.memory, 0.02)
    assert took == 0, "it is known now to be too slow"
    assert again.memory.pace < decision.memory.pace, "but it may become faster"


def test_a_pace_that_was_bad_once_is_forgotten() -> None:
    slow = Slow()
    planner = Planner(slow.model, Actions.of(POINT), settings())
    memory, tries = planner.fresh(pace=1.0), 0
    while memory.pace > 2 * ROW_STEP:
        memory, tries = decide(slow, planner, memory, 0.02)[0].memory, tries + 1
    assert tries < 40
    assert decide(slow, planner, memory, 0.02)[0].candidates > 100


def test_one_interruption_does_not_keep_the_next_decision_from_planning() -> None:
    slow = Slow()
    planner = Planner(slow.model, Actions.of(POINT), settings())
    memory = planner.fresh(ROW_STEP)
    slow.price = 0.02 / FEWEST  # as long as the whole budget
    decision, _ = decide(slow, planner, memory, 0.02)
    assert decision.candidates == 0
    slow.price = ROW_STEP
    assert decide(slow, planner, decision.memory, 0.02)[0].candidates > 60


@METHODS
@pytest.mark.parametrize("space", [POINT, LEFT_OR_RIGHT], ids=["box", "discrete"])
def test_without_time_the_last_plan_goes_on(method: str, space: Any) -> None:
    slow = Slow()
    planner = Planner(slow.model, Actions.of(space), settings(method))
    first, _ = decide(slow, planner, planner.fresh(), None)
    last = first
    for step in range(1, 4):
        last, took = decide(slow, planner, last.memory, 0.0)
        assert took == 0
        np.testing.assert_array_equal(last.plan[0], first.plan[step])
        assert last.candidates == last.iterations == 0


def test_without_time_or_plan_the_policy_is_asked_and_without_policy_it_is_the_middle() -> None:
    slow = Slow()
    proposed = Model(slow.imagine, lambda state, rng: np.full((len(state["x"]), 2), 0.5, "f4"))
    for model, wanted in ((proposed, 0.5), (slow.model, 0.0)):
        planner = Planner(model, Actions.of(POINT), settings())
        np.testing.assert_array_equal(decide(slow, planner, planner.fresh(), 0.0)[0].plan, wanted)
    discrete = Planner(slow.model, Actions.of(LEFT_OR_RIGHT), settings())
    plan = decide(slow, discrete, discrete.fresh(), 0.0)[0].plan
    assert Actions.of(LEFT_OR_RIGHT).decode(plan[0]) in (0, 1)


def test_decisions_without_deadline_are_equal_and_leave_the_clock_alone() -> None:
    slow = Slow()
    planner = Planner(slow.model, Actions.of(POINT), settings("icem"))
    one, two = (decide(slow, planner, planner.fresh(), None)[0] for _ in range(2))
    np.testing.assert_array_equal(one.plan, two.plan)
    assert one.memory.pace == 0.0
    np.testing.assert_array_equal(one.memory.kept, two.memory.kept)


def test_proposals_are_among_the_first_candidates() -> None:
    asked: list[int] = []

    def imagine(
        state: State, action: Floats, rng: np.random.Generator
    ) -> tuple[State, Floats, Floats]:
        return state, -((action - 0.5) ** 2).sum(-1), np.ones(len(action), np.float32)

    def propose(state: State, rng: np.random.Generator) -> Floats:
        asked.append(len(state["x"]))
        return np.full((len(state["x"]), 2), 0.5, np.float32)

    how = settings("shooting", candidates=40, iterations=2, proposals=8)
    planner = Planner(Model(imagine, propose), Actions.of(POINT), how)
    decision, _ = decide(Slow(), planner, planner.fresh(), None)
    assert asked == [8] * 10
    assert decision.candidates == 80
    assert decision.expected == 0
    np.testing.assert_array_equal(decision.plan, 0.5)


def test_a_warm_start_begins_where_the_last_plan_was_and_a_cold_one_does_not() -> None:
    slow = Slow()
    for warm in (True, False):
        how = settings("cem", candidates=20, elites=3, iterations=1, warm_start=warm)
        planner = Planner(slow.model, Actions.of(POINT), how)
        memory = planner.fresh()
        for seed in range(10):
            decision, _ = decide(slow, planner, memory, None, seed)
            memory = decision.memory
        cold, _ = decide(slow, planner, planner.fresh(), None, 9)
        assert np.array_equal(cold.plan, decision.plan) == (not warm)
