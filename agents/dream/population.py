"""Who is to act: all candidates of a generation travel with the weights, and a robot takes one.

The service knows one newest policy. So each version carries the whole population, and at the start
of each episode a robot draws one of the candidates that still lack episodes. Its vector goes into
the robot's carry: whatever versions come meanwhile, the episode ends with who began it, and rows
say who that was. A lost episode leaves its candidate open, and somebody else will take it. Robots
without a network go on trying candidates that they know; returns of an older generation are only
counted as episodes.

A vector is named by a number, exact in float32: `MEAN`, `RANDOM`, or a candidate, whose number
follows from the vectors of its generation. So a learner that fell back to a checkpoint takes no
episode of another vector for one of its own.

With several robots a generation ends with the episodes that are over first, which are the shortest
ones: where short is bad, a candidate that several robots try at once is judged a little too hard.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.blocks.evolution import Evolution

MEAN, RANDOM = 0.0, -1.0
_NAMES = 2**24 - 1  # the largest that is exact in float32


class Population(nn.Module):
    """What the robots know of a generation: buffers that travel. All are float32.

    Args:
        size: candidates P.
        width: numbers n of each.
    """

    vectors: torch.Tensor
    open: torch.Tensor
    lacking: torch.Tensor
    before: torch.Tensor
    collecting: torch.Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("vectors", torch.zeros(1 + size, width))  # the mean first
        self.register_buffer("open", torch.zeros(size))  # places in `vectors`, first of all:
        self.register_buffer("lacking", torch.ones(()))  # so many that lack episodes
        self.register_buffer("before", torch.zeros(()))  # the name below the first candidate's
        self.register_buffer("collecting", torch.ones(()))  # whether to act at random

    def draw(self, uniform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors (N, n) and their names (N,), by numbers (N,) in 0..1: 0 is the mean's."""
        place = (uniform * self.lacking).floor().clamp(0, self.size - 1).long()
        chosen = (self.open[place] + 0.5).floor().clamp(0, self.size)
        chosen = torch.where(uniform > 0, chosen, 0.0)
        name = torch.where(chosen > 0, chosen + self.before, MEAN)
        name = torch.where((self.collecting > 0.5) & (uniform > 0), RANDOM, name)
        return self.vectors[chosen.long()], name


class Contest:
    """An evolution whose scores come in as episodes end, in any order.

    Args:
        evolution: yields the candidates.
        population: what the robots are told; kept current.
        episodes: that each candidate is judged by; more count as well.
    """

    def __init__(self, evolution: Evolution, population: Population, episodes: int) -> None:
        self.evolution, self.population, self._episodes = evolution, population, episodes
        self._sums = torch.zeros(population.size, dtype=torch.float64)
        self._counts = torch.zeros(population.size, dtype=torch.int64)
        # Of the last generation that was told: mean and best score.
        self.told = torch.zeros(2, dtype=torch.float64)
        self._announce()

    def credit(self, names: list[float], returns: list[float]) -> None:
        """Take in what episodes came to; goes on to the next generation when all are judged."""
        first = 1 + int(self.population.before)
        for name, total in zip(names, returns, strict=True):
            place = round(name) - first
            if 0 <= place < self.population.size:
                self._sums[place] += total
                self._counts[place] += 1
        if (self._counts >= self._episodes).all():
            self.tell((self._sums / self._counts).numpy())
        else:
            self._announce()

    def tell(self, scores: NDArray[np.float64]) -> None:
        """The scores (P,) of the whole generation."""
        self.told = torch.tensor([scores.mean(), scores.max()], dtype=torch.float64)
        self.evolution.tell(scores)
        self._sums.zero_()
        self._counts.zero_()
        self._announce()

    @torch.no_grad()
    def _announce(self) -> None:
        population, evolution = self.population, self.evolution
        vectors = np.concatenate([evolution.mean[None], evolution.candidates])
        population.vectors.copy_(torch.from_numpy(vectors))
        lacking = (self._counts < self._episodes).nonzero()[:, 0]
        population.open.zero_()[: len(lacking)] = (lacking + 1).to(population.open)
        population.lacking.fill_(len(lacking))
        drawn = zlib.crc32(evolution.candidates.astype(np.float32).tobytes())
        population.before.fill_(drawn % (_NAMES - population.size))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Evolution and scores so far."""
        own = {"sums": self._sums.clone(), "counts": self._counts.clone(), "told": self.told}
        return own | {f"evolution/{k}": t for k, t in self.evolution.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Inverse of `state_dict`."""
        prefix = "evolution/"
        found = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
        self.evolution.load_state_dict(found)
        self._sums.copy_(state["sums"])
        self._counts.copy_(state["counts"])
        self.told = state["told"].cpu().clone()
        self._announce()
