from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from robot_client.bundle import PlanSettings
from robot_client.planning.beliefs import WARM, Gaussian
from robot_client.planning.model import Actions, one_hot
from robot_client.planning.strategies import STRATEGIES, Cem, Search

BOX = Actions.of(spaces.Box(-1.0, 1.0, (1,), np.float32))
CHOICES = Actions.of(spaces.Discrete(2))
NONE = np.zeros((0, 2, 1), np.float32)


def make(actions: Actions = BOX, **fields: Any) -> Cem:
    settings = PlanSettings(**{"horizon": 2, "candidates": 4, "elites": 2, **fields})
    return STRATEGIES[settings.method](settings, actions)


def plans(*first: float) -> np.ndarray:
    return np.array([[[x], [-x]] for x in first], np.float32)


def refined(strategy: Cem, returns: list[float]) -> Search:
    search = strategy.begin(strategy.actions.rest(2), NONE)
    return strategy.refine(search, plans(0.1, 0.2, 0.4, 0.8), np.array(returns), 4)


def test_cem_refits_to_the_elites_and_executes_their_mean() -> None:
    strategy = make(method="cem")
    search = refined(strategy, [1, 4, 2, 3])
    plan, expected = strategy.plan(search)
    np.testing.assert_allclose(plan, [[0.5], [-0.5]])
    assert isinstance(search.belief, Gaussian)
    np.testing.assert_allclose(search.belief.std, [[0.3], [0.3]], rtol=1e-5)
    assert expected == 3.5


def test_mppi_weighs_by_the_exponential_of_the_return() -> None:
    strategy = make(method="mppi", elites=4, temperature=2.0)
    plan, expected = strategy.plan(refined(strategy, [1, 4, 2, 3]))
    w = np.exp(np.array([1, 4, 2, 3]) / 2)
    w /= w.sum()
    np.testing.assert_allclose(plan[0], w @ [0.1, 0.2, 0.4, 0.8], rtol=1e-6)
    assert expected == pytest.approx(w @ [1, 4, 2, 3])
    huge = refined(strategy, [1e6, 4e6, 2e6, 3e6])  # no overflow: only the best counts
    np.testing.assert_allclose(strategy.plan(huge)[0][0], 0.2, rtol=1e-6)


@pytest.mark.parametrize("method", ["icem", "shooting"])
def test_icem_and_shooting_execute_the_best_there_was(method: str) -> None:
    strategy = make(method=method)
    before = refined(strategy, [1, 4, 2, 3])
    search = strategy.refine(before, plans(0.5, 0.6), np.array([3.9, 1]), 2)
    plan, expected = strategy.plan(search)
    np.testing.assert_allclose(plan[0], 0.2)
    assert expected == 4
    assert (search.belief is before.belief) == (method == "shooting")


def test_diverged_futures_are_no_elites() -> None:
    strategy = make(method="cem", elites=4)
    search = refined(strategy, [-np.inf, 4, -np.inf, 3])
    np.testing.assert_allclose(strategy.plan(search)[0][0], 0.5)
    before = strategy.begin(BOX.rest(2), NONE)
    assert strategy.refine(before, plans(1, 1), np.array([-np.inf] * 2), 2) is before


def test_a_part_of_the_population_has_as_many_elites_in_proportion() -> None:
    strategy = make(method="cem", candidates=40, elites=20)
    search = strategy.begin(BOX.rest(2), NONE)
    some = plans(*np.linspace(0, 0.7, 8))
    search = strategy.refine(search, some, np.arange(8.0), 40)
    assert len(search.elites) == 4


def test_icem_draws_fewer_each_time_but_never_less_than_twice_the_elites() -> None:
    strategy = make(method="icem", candidates=100, elites=20)
    assert [strategy.population(i) for i in range(6)] == [100, 80, 64, 51, 40, 40]
    assert make(method="cem", candidates=100).population(5) == 100


def test_icem_keeps_a_share_of_the_elites_and_at_last_looks_at_the_mean() -> None:
    strategy = make(method="icem", candidates=4, elites=4, keep=0.3, iterations=3)
    search = refined(strategy, [1, 4, 2, 3])
    np.testing.assert_allclose(strategy.fixed(search, 1)[:, 0, 0], [0.2, 0.8])
    last = strategy.fixed(search, 2)[:, 0, 0]
    np.testing.assert_allclose(last, [0.375, 0.2, 0.8], rtol=1e-6)
    np.testing.assert_allclose(strategy.kept(search)[:, 0, 0], [0.2, 0.8])


def test_shooting_keeps_its_best_for_the_next_step_only() -> None:
    strategy = make(method="shooting")
    search = refined(strategy, [1, 4, 2, 3])
    np.testing.assert_allclose(strategy.kept(search)[:, 0, 0], [0.2])
    began = strategy.begin(BOX.rest(2), strategy.kept(search))
    assert len(strategy.fixed(began, 0)) == 1
    assert len(strategy.fixed(refined(strategy, [1, 4, 2, 3]), 1)) == 0


def test_the_next_step_begins_a_step_on_with_nothing_known_of_its_end() -> None:
    strategy = make(method="cem")
    search = refined(strategy, [1, 4, 2, 3])
    np.testing.assert_allclose(strategy.next_location(search), [[-0.5], [0]])


def test_the_next_step_is_less_sure_of_choices() -> None:
    strategy = make(CHOICES, method="cem", elites=1, candidates=2)
    search = strategy.begin(CHOICES.rest(2), np.zeros((0, 2, 2), np.float32))
    search = strategy.refine(
        search, one_hot(np.array([[0, 1], [0, 1]]), 2), np.array([1.0, 0.0]), 2
    )
    found = strategy.next_location(search)
    sure = search.belief.location[1, 1]
    assert sure > 0.98
    np.testing.assert_allclose(found[0, 1], (1 - WARM) * sure + WARM / 2, rtol=1e-6)
    np.testing.assert_allclose(found[1], 0.5)


@pytest.mark.parametrize("method", STRATEGIES)
def test_every_method_plans_choices(method: str) -> None:
    strategy = make(CHOICES, method=method)
    search = strategy.begin(CHOICES.rest(2), np.zeros((0, 2, 2), np.float32))
    drawn = search.belief.sample(np.random.default_rng(0), 50)
    gains = drawn[:, 0, 1] + drawn[:, 1, 0]  # best: the second choice, then the first
    for _ in range(3):
        search = strategy.refine(search, drawn, gains, 50)
    np.testing.assert_array_equal(strategy.plan(search)[0], [[0, 1], [1, 0]])
