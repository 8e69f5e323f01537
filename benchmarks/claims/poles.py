"""World Models on the pixel cart-pole, many carts at once: the agent's parts without its robots."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from agents.agent import Tensors
from agents.blocks.actions import ActionCodec
from agents.blocks.adam import FusedAdam
from agents.blocks.evolution import Evolution
from agents.dream.controller import Controller, Sees
from agents.dream.dreaming import dream, driven
from agents.dream.learning import Warmth, memory_loss
from agents.dream.mdn_rnn import MDNRNN
from agents.dream.vae import VAE, reparameterised
from benchmarks.claims.claim import Curve, Outcome
from robot_client.schema import ACTION, IS_FIRST, IS_LAST, IS_TERMINAL, REWARD
from sim.envs import pixel_cartpole as pole

LATENT, UNITS, COMPONENTS = 8, 64, 3
EPISODES, LONGEST = 1000, 64  # random ones to learn from; what is longer is cut
WINDOWS, FRAMES = 16, 100  # of an update of M and of V
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
        chosen = torch.randint(len(world.starts), (EACH,), generator=world.generator)
        found = dream(
            world.model,
            controller,
            world.codec,
            vectors,
            world.starts[chosen],
            self.steps,
            self.temperature,
            world.generator,
        )
        return found.returns.reshape(len(vectors), EACH).mean(1).double().numpy()


class World:
    """V and M of one seed, and the carts that they learn from."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.codec = ActionCodec(spaces.Discrete(2))
        self.vae = VAE(pole.PIXELS, 1, LATENT)
        self.model = MDNRNN(LATENT, 2, UNITS, COMPONENTS)
        self.pictures, self.actions, self.lengths = self._collect()
        self.starts = torch.zeros(EPISODES, LATENT)

    def learn(self, vision_updates: int, memory_updates: int) -> None:
        """V on single pictures, then M on its codes."""
        optimizer = FusedAdam(self.vae.parameters(), 1e-3)
        alive = torch.arange(LONGEST) < self.lengths[:, None]
        every = self.pictures[alive]
        for _ in range(vision_updates):
            chosen = torch.randint(len(every), (FRAMES,), generator=self.generator)
            losses = self.vae.loss(pixels(every[chosen]), self.normal(FRAMES), 0.5)
            _step(optimizer, losses["total"], self.vae, 1e9)
        optimizer = FusedAdam(self.model.parameters(), 1e-3)
        for _ in range(memory_updates):
            chosen = torch.randint(EPISODES, (WINDOWS,), generator=self.generator)
            batch = self._batch(chosen)
            senses = self.code(self.pictures[chosen].flatten(0, 1)).reshape(WINDOWS, LONGEST, -1)
            losses = memory_loss(self.model, self.codec, batch, senses, Warmth(0, 10.0))
            _step(optimizer, losses["total"], self.model, 1.0)
        self.starts = self.code(self.pictures[:, 0])

    @torch.no_grad()
    def play(
        self, controller: Controller, candidates: np.ndarray, episodes: int, steps: int
    ) -> np.ndarray:
        """(P, E) returns of real episodes; all candidates have the same starts."""
        count = len(candidates)
        vectors = torch.from_numpy(candidates).float().repeat_interleave(episodes, 0)
        state = np.tile(pole.begin(episodes, self.rng), (count, 1))
        memory, returns = self.model.lstm.blank(len(state)), np.zeros(len(state))
        alive = np.ones(len(state), np.bool_)
        for _ in range(steps):
            senses = self.code(torch.from_numpy(pole.draw(state)))
            action = driven(self.codec, controller(vectors, senses, memory))
            memory = self.model.step(senses, action, memory)
            state = np.where(alive[:, None], pole.push(state, action.argmax(-1).numpy()), state)
            returns += alive
            alive &= ~pole.fallen(state)
            if not alive.any():
                break
        return returns.reshape(count, episodes)

    @torch.no_grad()
    def code(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, Z) of raw pictures, drawn."""
        mean, logvar = self.vae.encoder(pixels(pictures))
        return reparameterised(mean, logvar, self.normal(len(pictures)))

    def normal(self, rows: int) -> torch.Tensor:
        """(N, Z) noise."""
        return torch.randn(rows, LATENT, generator=self.generator)

    def _collect(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pictures (E, T, H, W, 1) and actions (E, T) of random episodes, and their rows (E,)."""
        state, lengths = pole.begin(EPISODES, self.rng), np.full(EPISODES, LONGEST)
        actions = self.rng.integers(0, 2, (EPISODES, LONGEST))
        seen = []
        for t in range(LONGEST):
            seen.append(pole.draw(state))
            ended = pole.fallen(state) & (lengths == LONGEST)
            lengths[ended] = t + 1
            state = np.where(pole.fallen(state)[:, None], state, pole.push(state, actions[:, t]))
        found = (torch.from_numpy(np.stack(seen, 1)), torch.from_numpy(actions))
        return *found, torch.from_numpy(lengths)

    def _batch(self, chosen: torch.Tensor) -> Tensors:
        place, lengths = torch.arange(LONGEST)[None], self.lengths[chosen][:, None]
        last = place >= lengths - 1  # the padding too: it has no successor to foretell
        return {
            ACTION: self.actions[chosen],
            REWARD: (place > 0).float().expand(last.shape),
            IS_FIRST: (place == 0).expand(last.shape),
            IS_LAST: last,
            IS_TERMINAL: last & (lengths < LONGEST),
        }


def pixels(pictures: torch.Tensor) -> torch.Tensor:
    """(N, H, W, C) uint8 -> (N, C, H, W) in 0..1."""
    return pictures.movedim(-1, 1).float() / 255


def _step(optimizer: FusedAdam, loss: torch.Tensor, net: nn.Module, clip: float) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_value_(net.parameters(), clip)
    optimizer.step()
