"""World Models on the pixel cart-pole, many carts at once: the agent's parts without its robots."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from agents.blocks.actions import ActionCodec
from agents.blocks.evolution import Evolution
from agents.dream.controller import Controller, Sees
from agents.dream.dreaming import dream
from benchmarks.claims.claim import Curve, Outcome
from benchmarks.claims.mind import Episodes, Mind
from sim.envs import pixel_cartpole as pole

LATENT, UNITS, COMPONENTS = 8, 64, 3
EPISODES, LONGEST = 1000, 64  # random ones to learn from; what is longer is cut
WINDOWS = 16  # of an update of M
POPULATION, EACH, DEVIATION = 24, 8, 0.1
TESTED, SHOWN = 100, 5  # episodes of the last test; generations between tests


@dataclass(frozen=True)
class Poles:
    """One way to evolve a controller; its value is the mean return of 100 real episodes.

    Args:
        sees, hidden: of the controller.
        steps: of an episode at most, real or dreamt.
        generations: of the evolution.
        temperature: of the dreams that it is evolved in; None: for real.
        vision_updates, memory_updates: 0 leaves a part untrained.
    """

    sees: Sees = "zh"
    hidden: int = 0
    steps: int = 500
    generations: int = 60
    temperature: float | None = None
    vision_updates: int = 1500
    memory_updates: int = 1000

    @property
    def settings(self) -> dict[str, Any]:
        """All that there is."""
        return {"kind": "poles", "episodes": EPISODES, "population": POPULATION, **asdict(self)}

    def run(self, seed: int) -> Outcome:
        """Collect, learn to see and to foretell, evolve, and test."""
        start = time.process_time()
        world = World(seed)
        world.learn(self.vision_updates, self.memory_updates)
        controller = Controller(LATENT, UNITS, 2, self.sees, self.hidden)
        blank = np.zeros(controller.parameters)
        evolution = Evolution(blank, DEVIATION, POPULATION, seed)
        curve: Curve = []
        for generation in range(1, self.generations + 1):
            evolution.tell(self._scores(world, controller, evolution.candidates))
            if generation % SHOWN == 0:
                returns = world.play(controller, evolution.mean[None], TESTED, self.steps)
                curve.append((float(generation), float(returns.mean())))
        more = {"std": float(returns.std()), "cpu_seconds": round(time.process_time() - start, 1)}
        return Outcome(curve[-1][1], curve, more)

    def _scores(self, world: World, controller: Controller, candidates: np.ndarray) -> np.ndarray:
        if self.temperature is None:
            return world.play(controller, candidates, EACH, self.steps).mean(1)
        vectors = torch.from_numpy(candidates).float()
        chosen = torch.randint(len(world.starts), (EACH,), generator=world.mind.generator)
        found = dream(
            world.mind.model,
            controller,
            world.mind.codec,
            vectors,
            world.starts[chosen],
            self.steps,
            self.temperature,
            world.mind.generator,
        )
        return found.returns.reshape(len(vectors), EACH).mean(1).double().numpy()


class World:
    """V and M of one seed, and the carts that they learn from."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        codec = ActionCodec(spaces.Discrete(2))
        self.mind = Mind(codec, pole.PIXELS, 1, LATENT, UNITS, COMPONENTS, seed)
        self.starts = torch.zeros(EPISODES, LATENT)

    def learn(self, vision_updates: int, memory_updates: int) -> None:
        """To see, and to foretell, from random episodes."""
        episodes = self._collect()
        self.mind.learn(episodes, vision_updates, memory_updates, WINDOWS)
        self.starts = self.mind.code(episodes.pictures[:, 0])

    def play(
        self, controller: Controller, candidates: np.ndarray, episodes: int, steps: int
    ) -> np.ndarray:
        """(P, E) returns of real episodes; all candidates have the same starts."""
        count = len(candidates)
        vectors = torch.from_numpy(candidates).float().repeat_interleave(episodes, 0)
        state = np.tile(pole.begin(episodes, self.rng), (count, 1))
        memory, returns = self.mind.model.lstm.blank(len(state)), np.zeros(len(state))
        alive = np.ones(len(state), np.bool_)
        for _ in range(steps):
            senses = self.mind.code(torch.from_numpy(pole.draw(state)))
            raw = controller(vectors, senses, memory)
            action, memory = self.mind.remember(senses, raw, memory)
            state = np.where(alive[:, None], pole.push(state, action.argmax(-1).numpy()), state)
            returns += alive
            alive &= ~pole.fallen(state)
            if not alive.any():
                break
        return returns.reshape(count, episodes)

    def _collect(self) -> Episodes:
        state, lengths = pole.begin(EPISODES, self.rng), np.full(EPISODES, LONGEST)
        actions = self.rng.integers(0, 2, (EPISODES, LONGEST))
        seen = []
        for t in range(LONGEST):
            seen.append(pole.draw(state))
            ended = pole.fallen(state) & (lengths == LONGEST)
            lengths[ended] = t + 1
            state = np.where(pole.fallen(state)[:, None], state, pole.push(state, actions[:, t]))
        pictures, acted = torch.from_numpy(np.stack(seen, 1)), torch.from_numpy(actions)
        rewards = (torch.arange(LONGEST) > 0).float().expand(EPISODES, LONGEST)
        return Episodes(pictures, acted, rewards, torch.from_numpy(lengths))
