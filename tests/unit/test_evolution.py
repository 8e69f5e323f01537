"""CMA-ES finds optima, and goes on from what was kept of it as if nothing had happened."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.blocks.evolution import Evolution


def score(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Highest where all are 1; the axes differ in how much they matter."""
    found: NDArray[np.float64] = -(np.arange(1, x.shape[1] + 1) * (x - 1) ** 2).sum(1)
    return found


def run(evolution: Evolution, generations: int) -> None:
    for _ in range(generations):
        evolution.tell(score(evolution.candidates))


def test_it_finds_the_optimum() -> None:
    evolution = Evolution(np.zeros(4), 0.5, 8)
    run(evolution, 80)
    assert evolution.mean == pytest.approx(np.ones(4), abs=1e-2)
    assert evolution.generation == 80


@pytest.mark.parametrize(
    ("width", "size", "before"), [(3, 4, 5), (3, 6, 0), (3, 6, 7), (20, 10, 40)]
)
def test_what_was_kept_goes_on_to_the_bit(width: int, size: int, before: int) -> None:
    old = Evolution(np.zeros(width), 0.3, size, seed=1)
    run(old, before)
    kept = {name: tensor.clone() for name, tensor in old.state_dict().items()}
    new = Evolution(np.full(width, 5.0), 2.0, size, seed=9)
    run(new, 3)
    new.load_state_dict(kept)
    for _ in range(60):
        assert np.array_equal(old.candidates, new.candidates)
        run(old, 1)
        run(new, 1)
    ours, theirs = old.state_dict(), new.state_dict()
    assert all(ours[name].equal(theirs[name]) for name in ours)


def test_the_random_state_of_all_of_numpy_is_left_alone() -> None:
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    run(Evolution(np.zeros(3), 0.3, 6), 2)
    assert np.random.rand() == expected


def test_scores_and_states_of_others_are_refused() -> None:
    evolution = Evolution(np.zeros(3), 0.3, 6)
    for scores in (np.zeros(5), np.array([0, 0, 0, 0, 0, np.nan])):
        with pytest.raises(ValueError, match="expected 6 numbers"):
            evolution.tell(scores)
    with pytest.raises(ValueError, match="mean: expected"):
        evolution.load_state_dict(Evolution(np.zeros(4), 0.3, 6).state_dict())
