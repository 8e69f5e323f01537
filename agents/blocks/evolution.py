"""CMA-ES (Hansen 2016, "The CMA evolution strategy: a tutorial"), by the package `cma`, kept whole.

The package keeps a run in one object that only pickle could store. Here its state is named arrays:
what the next generation depends on, and nothing else. Its random numbers are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import cma
import numpy as np
import torch
from numpy.typing import NDArray

from agents.blocks.state import restore_generator

# Where the package keeps what the next generation depends on: part of the object -> names.
_ARRAYS = {"": ("mean", "pc", "pc2"), "sm": ("C", "B", "D"), "adapt_sigma": ("ps",)}
_NUMBERS = {"": ("sigma",), "adapt_sigma": ("delta",)}
_COUNTS = {
    "": ("countiter", "countevals", "itereigenupdated", "count_eigen"),
    "sm": ("last_update", "count_tell", "count_eigen"),
    "adapt_sigma": ("_ps_updated_iteration",),
}


class Evolution:
    """A population of vectors that moves to where scores are high.

    Args:
        start: (n,) its mean at first.
        deviation: of each number at first.
        size: vectors of a generation, at least 4.
        seed: of its random numbers.
    """

    def __init__(
        self, start: NDArray[np.float64], deviation: float, size: int, seed: int = 0
    ) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        # Without a seed of its own the package would set that of all of NumPy.
        options = {"popsize": size, "randn": self._randn, "seed": math.nan, "verbose": -9}
        options["CMA_mirrors"] = 0  # small populations': they would be one more thing to keep
        self._search: Any = cma.CMAEvolutionStrategy(start, deviation, options)
        self._candidates = self._ask()

    @property
    def generation(self) -> int:
        """How many generations have been told."""
        return int(self._search.countiter)

    @property
    def mean(self) -> NDArray[np.float64]:
        """(n,) the mean of the distribution: the best guess, and no lucky member."""
        return np.array(self._search.mean)

    @property
    def deviation(self) -> float:
        """The step size sigma."""
        return float(self._search.sigma)

    @property
    def candidates(self) -> NDArray[np.float64]:
        """(P, n) the vectors of this generation."""
        return self._candidates.copy()

    def tell(self, scores: NDArray[np.float64]) -> None:
        """Move on by the scores (P,) of the candidates, of which more is better.

        Raises ValueError when there are others than P, or one is not finite.
        """
        if scores.shape != (len(self._candidates),) or not np.isfinite(scores).all():
            raise ValueError(f"scores: expected {len(self._candidates)} numbers, got {scores}")
        # Unchecked: after a restart the package would take its own candidates for another's.
        self._search.tell(list(self._candidates), (-scores).tolist(), check_points=False)
        self._candidates = self._ask()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Everything, by name."""
        found = {name: torch.from_numpy(np.array(array)) for name, array in self._arrays().items()}
        numbers = [float(getattr(*place)) for place in self._places(_NUMBERS).values()]
        counts = [int(getattr(*place)) for place in self._places(_COUNTS).values()]
        return found | {
            "candidates": torch.from_numpy(self._candidates.copy()),
            "numbers": torch.tensor(numbers, dtype=torch.float64),
            "counts": torch.tensor(counts),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Inverse of `state_dict`; raises KeyError or ValueError for another's."""
        for name, array in (self._arrays() | {"candidates": self._candidates}).items():
            if tuple(state[name].shape) != array.shape:
                raise ValueError(f"{name}: expected {array.shape}, got {tuple(state[name].shape)}")
        for key, (part, name) in self._places(_ARRAYS).items():
            array = np.empty_like(getattr(part, name))  # laid out alike: sums come out to the bit
            array[...] = state[key].cpu().numpy()
            setattr(part, name, array)
        for key, names in (("numbers", _NUMBERS), ("counts", _COUNTS)):
            places = self._places(names).values()
            for (part, name), number in zip(places, state[key].tolist(), strict=True):
                setattr(part, name, number)
        search = self._search
        search.sm._inverse_root_C = None  # computed anew when it is asked for
        search._updateBDfromSM(search.sm)
        search.number_of_solutions_asked = len(self._candidates)
        search.mean_old = search.mean.copy()
        search._flgtelldone = False
        self._candidates = state["candidates"].cpu().numpy().copy()
        restore_generator(self._generator, state["generator"].cpu())

    def _ask(self) -> NDArray[np.float64]:
        return np.array(self._search.ask())

    def _randn(self, *shape: int) -> NDArray[np.float64]:
        drawn = torch.randn(shape, generator=self._generator, dtype=torch.float64)
        found: NDArray[np.float64] = drawn.numpy()
        return found

    def _places(self, names: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[Any, str]]:
        parts = {part: getattr(self._search, part) if part else self._search for part in names}
        return {f"{p}.{n}" if p else n: (parts[p], n) for p, ns in names.items() for n in ns}

    def _arrays(self) -> dict[str, NDArray[np.float64]]:
        return {key: getattr(*place) for key, place in self._places(_ARRAYS).items()}
