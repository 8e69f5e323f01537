"""World Models on Take Cover, evolved in dreams: the agent's parts without its robots."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from agents.blocks.actions import ActionCodec
from agents.blocks.evolution import Evolution
from agents.dream.controller import Controller
from agents.dream.dreaming import dream
from benchmarks.claims.claim import Curve, Outcome
from benchmarks.claims.mind import Episodes, Mind
from sim.envs.take_cover import BUTTONS, PIXELS, REPEAT, TakeCover

LATENT, UNITS, COMPONENTS = 32, 128, 5
EPISODES, LONGEST, HOLD = 600, 100, 10  # random ones; rows that are kept; how long an action lasts
VISION, MEMORY, WINDOWS = 3000, 1500, 10  # updates of V and of M; episodes of one of M
POPULATION, EACH, DEVIATION = 16, 8, 0.1
STEPS, TESTED, SHOWN = 525, 20, 20  # of a dream at most; real episodes; generations between tests


@dataclass
class Sleepers:
    """V and M of each seed, which all temperatures share."""

    found: dict[int, Sleeper] = field(default_factory=dict)

    def __call__(self, seed: int) -> Sleeper:
        """The one of a seed; it collects its episodes when it is asked for first."""
        if seed not in self.found:
            self.found[seed] = Sleeper(seed)
        return self.found[seed]


@dataclass(frozen=True)
class Covers:
    """Dreams of one temperature; the value is the mean score of 20 real episodes.

    Args:
        temperature: of the dreams.
        sleepers: who dream.
        generations: of the evolution.
    """

    temperature: float
    sleepers: Sleepers
    generations: int = 100

    @property
    def settings(self) -> dict[str, Any]:
        """All that there is."""
        return {
            "kind": "covers",
            "episodes": EPISODES,
            "updates": [VISION, MEMORY],
            "population": POPULATION,
            "temperature": self.temperature,
            "generations": self.generations,
        }

    def run(self, seed: int) -> Outcome:
        """Evolve in dreams, and test for real."""
        start, sleeper = time.process_time(), self.sleepers(seed)
        sleeper.learn()
        mind = sleeper.mind
        controller = Controller(LATENT, UNITS, mind.codec.width, "zhc", 0)
        evolution = Evolution(np.zeros(controller.parameters), DEVIATION, POPULATION, seed)
        curve: Curve = []
        for generation in range(1, self.generations + 1):
            dreamt = sleeper.dreamt(controller, evolution.candidates, self.temperature)
            evolution.tell(dreamt)
            if generation % SHOWN == 0:
                scores = sleeper.played(controller, evolution.mean)
                curve.append((float(generation), float(scores.mean())))
        more = {"std": float(scores.std()), "dreamt": float(REPEAT * dreamt.mean())}
        more |= {"cpu_seconds": round(time.process_time() - start, 1)}
        return Outcome(curve[-1][1], curve, more)


@dataclass(frozen=True)
class AtRandom:
    """The mean score of the episodes that are learned from.

    Args:
        sleepers: who collect them.
    """

    sleepers: Sleepers

    @property
    def settings(self) -> dict[str, Any]:
        """All that there is."""
        return {"kind": "covers", "at random": EPISODES, "hold": HOLD}

    def run(self, seed: int) -> Outcome:
        """Collect them, unless that has been done."""
        return Outcome(self.sleepers(seed).random)


class Sleeper:
    """V and M of one seed, the game, and what acting at random scores in it."""

    def __init__(self, seed: int) -> None:
        self._game, self._rng = TakeCover(), np.random.default_rng(seed)
        self.mind = Mind(
            ActionCodec(spaces.Discrete(len(BUTTONS))), PIXELS, 3, LATENT, UNITS, COMPONENTS, seed
        )
        self._seed, self._starts = seed, torch.zeros(0, LATENT)
        self._episodes, self.random = self._collect()

    def learn(self) -> None:
        """To see and to foretell, unless it has."""
        if len(self._starts):
            return
        self.mind.learn(self._episodes, VISION, MEMORY, WINDOWS)
        self._starts = self.mind.code(self._episodes.pictures[:, 0])

    def dreamt(
        self, controller: Controller, candidates: NDArray[np.float64], temperature: float
    ) -> NDArray[np.float64]:
        """(P,) mean steps, of 4 tics each, that candidates live in dreams."""
        mind, vectors = self.mind, torch.from_numpy(candidates).float()
        chosen = torch.randint(EPISODES, (EACH,), generator=mind.generator)
        starts, parts = self._starts[chosen], (STEPS, temperature, mind.generator)
        found = dream(mind.model, controller, mind.codec, vectors, starts, *parts)
        lived: NDArray[np.float64] = (
            found.steps.reshape(len(vectors), EACH).mean(1).double().numpy()
        )
        return lived

    def played(self, controller: Controller, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """(20,) scores of real episodes, the same each time."""
        weights = torch.from_numpy(vector)[None].float()
        scores = np.zeros(TESTED)
        for episode in range(TESTED):
            picture, _ = self._game.reset(seed=self._seed + 100_000 + episode)
            memory, over = self.mind.model.lstm.blank(1), False
            while not over:
                senses = self.mind.code(torch.from_numpy(picture)[None])
                raw = controller(weights, senses, memory)
                action, memory = self.mind.remember(senses, raw, memory)
                picture, reward, dead, late, _ = self._game.step(int(action.argmax()))
                scores[episode] += reward
                over = dead or late
        return scores

    def _collect(self) -> tuple[Episodes, float]:
        pictures = np.zeros((EPISODES, LONGEST, PIXELS, PIXELS, 3), np.uint8)
        actions = np.zeros((EPISODES, LONGEST), np.int64)
        rewards = np.zeros((EPISODES, LONGEST), np.float32)
        lengths, scores = np.full(EPISODES, LONGEST), np.zeros(EPISODES)
        for episode in range(EPISODES):
            picture, _ = self._game.reset(seed=self._seed + 200_000 + episode)
            reward, over, t = 0.0, False, 0
            while True:
                if t < LONGEST:
                    pictures[episode, t], rewards[episode, t] = picture, reward / REPEAT
                if over:
                    break
                if t % HOLD == 0:
                    action = int(self._rng.integers(len(BUTTONS)))
                if t < LONGEST:
                    actions[episode, t] = action
                picture, reward, dead, late, _ = self._game.step(action)
                scores[episode] += reward
                over, t = dead or late, t + 1
            lengths[episode] = min(t + 1, LONGEST)
        parts = (torch.from_numpy(each) for each in (pictures, actions, rewards, lengths))
        return Episodes(*parts), float(scores.mean())
