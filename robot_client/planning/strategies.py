"""The methods: how plans are drawn, and what follows from their returns.

    shooting  the best of plans that are drawn once and for all (Nagabandi et al. 2018)
    cem       refits to the elites; its mean is the plan (PETS, Chua et al. 2018; PlaNet)
    mppi      the same with elites that weigh by their return (Williams et al. 2017; TD-MPC2)
    icem      CEM with coloured noise, fewer plans each time, elites that stay, and the best plan
              there was as its plan (Pinneri et al. 2020)

Discrete actions have chances instead of mean and deviation. Choices have no spectrum: iCEM draws
them independently in time, and is itself in everything else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_client.bundle import Method, PlanSettings
from robot_client.planning.beliefs import (
    WARM,
    Anywhere,
    Belief,
    Categorical,
    Gaussian,
    shift,
    with_uniform,
)
from robot_client.planning.model import Actions, Floats

SHRINK = 1.25  # iCEM, table S1: each iteration draws so many times fewer plans
Returns = NDArray[np.float64]


@dataclass(frozen=True)
class Search:
    """How far the search of one decision has come.

    Args:
        belief: where it looks next.
        elites: (K, H, A) of the last iteration, or what the step before kept; best first.
        best: (H, A) the best plan so far, if there is one.
        best_return: its return.
        mean_return: of the plans that made the belief.
    """

    belief: Belief
    elites: Floats
    best: Floats | None = None
    best_return: float = -math.inf
    mean_return: float = math.nan


class Cem:
    """The cross-entropy method, and what the others have in common with it.

    Args:
        settings: the counts.
        actions: the action space.
    """

    def __init__(self, settings: PlanSettings, actions: Actions) -> None:
        self.settings, self.actions = settings, actions

    def begin(self, location: Floats, kept: Floats) -> Search:
        """Search around a location (H, A), with plans (K, H, A) of the step before."""
        settings = self.settings
        if self.actions.discrete:
            return Search(Categorical(location, settings.momentum), kept)
        std = np.full_like(location, settings.init_std)
        return Search(
            Gaussian(
                location, std, self.actions, settings.momentum, settings.min_std, self._colour
            ),
            kept,
        )

    @property
    def _colour(self) -> float:
        return 0.0

    def next_location(self, search: Search) -> Floats:
        """(H, A) for the next step: a step on, with nothing known of its last one."""
        moved, rest = shift(search.belief.location), self.actions.rest(self.settings.horizon)
        moved[-1] = rest[-1]
        return with_uniform(moved, WARM) if self.actions.discrete else moved

    def population(self, iteration: int) -> int:
        """How many plans to draw."""
        return self.settings.candidates

    def fixed(self, search: Search, iteration: int) -> Floats:
        """(K, H, A) plans that are not drawn."""
        return search.elites[:0]

    def kept(self, search: Search) -> Floats:
        """(K, H, A) plans that the next step is to look at again."""
        return search.elites[:0]

    def refine(self, search: Search, plans: Floats, returns: Returns, population: int) -> Search:
        """From plans (N, H, A) with returns (N,); N may be less than the intended population."""
        count = math.ceil(self.settings.elites * len(plans) / population)
        order = np.argsort(-returns, kind="stable")[: min(max(count, 2), len(plans))]
        order = order[np.isfinite(returns[order])]
        if not len(order):
            return search
        elites, gains = plans[order], returns[order]
        weights = self.weights(gains)
        better = gains[0] > search.best_return
        return Search(
            self._refit(search.belief, elites, weights),
            elites,
            elites[0] if better else search.best,
            float(gains[0]) if better else search.best_return,
            float(weights @ gains),
        )

    def _refit(self, belief: Belief, elites: Floats, weights: NDArray[np.float64]) -> Belief:
        return belief.refit(elites, weights)

    def weights(self, returns: Returns) -> NDArray[np.float64]:
        """(K,) of elites, best first; they sum to one."""
        return np.full(len(returns), 1 / len(returns))

    def plan(self, search: Search) -> tuple[Floats, float]:
        """(H, A) to be executed, and its expected return."""
        return search.belief.mode(), search.mean_return


class Mppi(Cem):
    """Elites weigh by the exponential of their return."""

    def weights(self, returns: Returns) -> NDArray[np.float64]:
        """Softmax of the returns over the temperature."""
        found = np.exp((returns - returns.max()) / self.settings.temperature)
        normalised: NDArray[np.float64] = found / found.sum()
        return normalised


class _Best(Cem):
    """Executes the best plan that it has looked at."""

    def plan(self, search: Search) -> tuple[Floats, float]:
        """The best plan."""
        if search.best is None:
            return super().plan(search)
        return search.best, search.best_return


class Icem(_Best):
    """The improved cross-entropy method."""

    @property
    def _colour(self) -> float:
        return self.settings.colour

    def population(self, iteration: int) -> int:
        """Fewer from time to time, but never less than twice the elites."""
        count = int(self.settings.candidates / SHRINK**iteration)
        return max(count, min(2 * self.settings.elites, self.settings.candidates))

    def fixed(self, search: Search, iteration: int) -> Floats:
        """What was kept; at last the mean as well."""
        kept = self.kept(search)
        if iteration < self.settings.iterations - 1:
            return kept
        return np.concatenate([search.belief.mode()[None], kept])

    def kept(self, search: Search) -> Floats:
        """A share of the elites."""
        return search.elites[: math.ceil(self.settings.keep * self.settings.elites)]


class Shooting(_Best):
    """Random shooting: uniform plans where there are bounds. Nothing is refined."""

    def begin(self, location: Floats, kept: Floats) -> Search:
        """Search everywhere."""
        rest = self.actions.rest(self.settings.horizon)
        if self.actions.discrete:
            return Search(Categorical(rest), kept)
        return Search(Anywhere(rest, self.settings.init_std, self.actions), kept)

    def fixed(self, search: Search, iteration: int) -> Floats:
        """The best plan of the step before, once."""
        return search.elites if iteration == 0 else search.elites[:0]

    def kept(self, search: Search) -> Floats:
        """The best plan."""
        return search.elites[:0] if search.best is None else search.best[None]

    def _refit(self, belief: Belief, elites: Floats, weights: NDArray[np.float64]) -> Belief:
        return belief


STRATEGIES: dict[Method, type[Cem]] = {
    "shooting": Shooting,
    "cem": Cem,
    "mppi": Mppi,
    "icem": Icem,
}
