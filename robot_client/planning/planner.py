"""One decision: draw plans, imagine them, look closer at the best, until the action is due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_client.bundle import PlanSettings
from robot_client.clock import Clock
from robot_client.planning.beliefs import shift
from robot_client.planning.budget import Budget
from robot_client.planning.model import Actions, Choose, Floats, Model, State, evaluate
from robot_client.planning.strategies import STRATEGIES, Search


@dataclass(frozen=True)
class Memory:
    """What a decision leaves to the next one.

    Args:
        location: (H, A) where to begin to look: means, or chances.
        plan: (H, A) the rest of the plan, for when there is no time at all.
        kept: (K, H, A) plans to be looked at again.
        pace: seconds to imagine one step of one plan; 0 when unknown.
        fresh: whether there was no decision before.
    """

    location: Floats
    plan: Floats
    kept: Floats
    pace: float = 0.0
    fresh: bool = True


@dataclass(frozen=True)
class Decision:
    """A plan, and what it rests on.

    Args:
        plan: (H, A) in the model's scale; its first action is to be executed.
        memory: for the next decision.
        candidates: how many plans were imagined to their end.
        iterations: how many times the search was refined.
        expected: return of the plan: of its best imagination for random shooting and iCEM, the
            mean of the elites otherwise; NaN when nothing was imagined.
    """

    plan: Floats
    memory: Memory
    candidates: int
    iterations: int
    expected: float


class Planner:
    """Plans in a model. It remembers nothing: see `Memory`.

    Args:
        model: imagines.
        actions: what may be done.
        settings: how to search.
    """

    def __init__(self, model: Model, actions: Actions, settings: PlanSettings) -> None:
        self._model, self._actions, self._settings = model, actions, settings
        self._strategy = STRATEGIES[settings.method](settings, actions)

    def fresh(self, pace: float = 0.0) -> Memory:
        """What there is to remember at the beginning of an episode."""
        rest = self._actions.rest(self._settings.horizon)
        return Memory(rest, rest, np.zeros((0, *rest.shape), np.float32), pace)

    def decide(
        self,
        state: State,
        memory: Memory,
        rng: np.random.Generator,
        clock: Clock,
        deadline: float | None = None,
    ) -> Decision:
        """Plan from a state (1, ...).

        With a deadline, as much is imagined as fits: fewer plans in each iteration, then fewer
        iterations. There is always an answer: without any time it is the rest of the last plan, at
        an episode's beginning what the policy proposes, without a policy the middle action.

        Args:
            state: recurrent state of the model, one row.
            memory: of the decision before in this episode, or `fresh`.
            rng: of candidates and of the model.
            clock: tells when the deadline is.
            deadline: None for none: decisions from equal inputs are then equal.
        """
        settings, strategy = self._settings, self._strategy
        budget = Budget(clock, deadline, memory.pace)
        start = memory if settings.warm_start else self.fresh()
        search = strategy.begin(start.location, start.kept)
        candidates = iterations = 0
        for iteration in range(settings.iterations):
            plans, returns = self._imagine(search, iteration, state, rng, budget)
            if len(plans):
                search = strategy.refine(search, plans, returns, strategy.population(iteration))
                candidates += len(plans)
                iterations += 1
            if budget.late() or not len(plans):
                break
        if search.best is None:
            plan, expected = self._without_time(state, memory, rng), float("nan")
        else:
            plan, expected = strategy.plan(search)
        left = self._memory(search, plan, budget.next_pace())
        return Decision(plan, left, candidates, iterations, expected)

    def _imagine(
        self,
        search: Search,
        iteration: int,
        state: State,
        rng: np.random.Generator,
        budget: Budget,
    ) -> tuple[Floats, NDArray[np.float64]]:
        """Plans (N, H, A) of one iteration and their returns (N,), as many as time allows."""
        settings, strategy = self._settings, self._strategy
        left = settings.iterations - iteration
        wanted = budget.population(strategy.population(iteration), left, settings.horizon)
        fixed = strategy.fixed(search, iteration)
        proposed = settings.proposals if iteration == 0 and self._model.propose else 0
        plans, returns = [fixed[:0]], [np.zeros(0)]
        while wanted > 0:
            rows = min(proposed, wanted) or budget.piece(wanted, settings.horizon)
            if rows == 0:
                break
            began = budget.now()
            if proposed:
                choose = self._proposing(rng)
            else:
                drawn = search.belief.sample(rng, max(rows - len(fixed), 0))
                choose, fixed = _following(np.concatenate([fixed[:rows], drawn])), fixed[rows:]
            proposed, wanted = 0, wanted - rows
            found, scores, steps = evaluate(
                self._model, _rows(state, rows), choose, settings.horizon, rng, budget.late
            )
            budget.measure(began, rows, steps)
            if steps < settings.horizon:
                break
            plans.append(found)
            returns.append(scores)
        return np.concatenate(plans), np.concatenate(returns)

    def _proposing(self, rng: np.random.Generator) -> Choose:
        propose = self._model.propose
        assert propose is not None
        return lambda _, state: propose(state, rng)

    def _without_time(self, state: State, memory: Memory, rng: np.random.Generator) -> Floats:
        if memory.fresh and self._model.propose is not None:
            return np.repeat(self._model.propose(state, rng), self._settings.horizon, 0)
        return memory.plan

    def _memory(self, search: Search, plan: Floats, pace: float) -> Memory:
        strategy = self._strategy
        return Memory(
            strategy.next_location(search), shift(plan), shift(strategy.kept(search)), pace, False
        )


def _rows(state: State, rows: int) -> State:
    return {name: np.repeat(array, rows, 0) for name, array in state.items()}


def _following(plans: Floats) -> Callable[[int, State], Floats]:
    return lambda step, _: plans[:, step]
