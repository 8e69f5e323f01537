"""World Models on CarRacing, many cars at once: the agent's parts without its robots.

It needs the extra `envpool`.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from agents.blocks.actions import ActionCodec
from agents.blocks.evolution import Evolution
from agents.dream.controller import Controller, Sees
from benchmarks.claims.claim import Curve, Outcome
from benchmarks.claims.mind import Episodes, Mind
from sim.envs import car_racing
from sim.envs.extras import needs
from sim.envs.images import Shrink

LATENT, COMPONENTS = 32, 5
CARS, LAPS, WINDOW, HOLD = 60, 10, 64, 10  # at random: windows of each car, and how long it acts
WINDOWS = 8  # of an update of M
POPULATION, EACH, DEVIATION = 16, 2, 0.1
STEPS, PATIENCE, COST = 500, 100, 0.1  # of a drive; without a new tile; reward of each step
TESTED, LONGEST, SHOWN = 20, 1000, 10  # tracks of a test, and steps; generations between tests


@dataclass(frozen=True)
class Tracks:
    """One way to evolve a controller; its value is the mean return of 20 tracks.

    Args:
        sees, hidden: of the controller.
        generations: of the evolution.
        vision_updates, memory_updates: 0 leaves a part untrained.
        units: of M.
    """

    sees: Sees = "zh"
    hidden: int = 0
    generations: int = 100
    vision_updates: int = 1500
    memory_updates: int = 1000
    units: int = 64

    @property
    def settings(self) -> dict[str, Any]:
        """All that there is."""
        return {"kind": "tracks", "rows": CARS * LAPS * WINDOW} | {
            "population": POPULATION,
            "tracks": EACH,
            **asdict(self),
        }

    def run(self, seed: int) -> Outcome:
        """Collect, learn to see and to foretell, evolve, and test."""
        start = time.process_time()
        codec = ActionCodec(spaces.Box(-1.0, 1.0, (3,), np.float32))
        mind = Mind(codec, car_racing.PIXELS, 3, LATENT, self.units, COMPONENTS, seed)
        mind.learn(collected(seed), self.vision_updates, self.memory_updates, WINDOWS)
        controller = Controller(LATENT, self.units, codec.width, self.sees, self.hidden)
        blank = np.zeros(controller.parameters)
        evolution = Evolution(blank, DEVIATION, POPULATION, seed)
        training = Cars(POPULATION, EACH, seed)
        curve: Curve = []
        for generation in range(1, self.generations + 1):
            scores = drive(mind, controller, evolution.candidates, training, STEPS, PATIENCE)
            evolution.tell(scores.mean(1))
            if generation % SHOWN == 0:
                test = Cars(1, TESTED, seed + 100_000)  # the same tracks each time
                returns = drive(mind, controller, evolution.mean[None], test, LONGEST, LONGEST)
                curve.append((float(generation), float(returns.mean())))
        more = {"std": float(returns.std()), "cpu_seconds": round(time.process_time() - start, 1)}
        return Outcome(curve[-1][1], curve, more)


class Cars:
    """envpool's cars: each of P drivers on the same E tracks, which others follow.

    Raises RobotError when envpool is missing.
    """

    def __init__(self, drivers: int, tracks: int, seed: int) -> None:
        make = needs("envpool", "envpool").make_gymnasium
        pools = [
            make("CarRacing-v3", num_envs=tracks, num_threads=1, seed=seed) for _ in range(drivers)
        ]
        self._pools, self._tracks, self.count = pools, tracks, drivers * tracks
        size = (car_racing.ROWS, car_racing.SIDE)
        self._shrink = Shrink(size, (car_racing.PIXELS, car_racing.PIXELS))

    def begin(self) -> NDArray[np.uint8]:
        """(P E, H, W, 3) pictures of the next tracks."""
        return np.concatenate([self._seen(pool.reset()[0]) for pool in self._pools])

    def step(
        self, actions: NDArray[np.float32], pictures: NDArray[np.uint8], alive: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(P E) rewards and ends of cars that are still driven; `pictures` are theirs after it."""
        rewards, ended = np.zeros(self.count), np.zeros(self.count, np.bool_)
        for number, pool in enumerate(self._pools):
            first = number * self._tracks
            mine = np.flatnonzero(alive[first : first + self._tracks]).astype(np.int32)
            if not len(mine):
                continue
            found, reward, terminated, truncated, _ = pool.step(
                car_racing.pedals(actions[first + mine]), mine
            )
            pictures[first + mine] = self._seen(found)
            rewards[first + mine], ended[first + mine] = reward, terminated | truncated
        return rewards, ended

    def _seen(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.stack([self._shrink(each[: car_racing.ROWS]) for each in pictures])


def drive(
    mind: Mind,
    controller: Controller,
    candidates: NDArray[np.float64],
    cars: Cars,
    steps: int,
    patience: int,
) -> NDArray[np.float64]:
    """(P, E) returns of P candidates in so many steps. A car that finds no new tile for `patience`
    of them is taken off, and is counted as if it had found none to the end."""
    count = len(candidates)
    vectors = torch.from_numpy(candidates).float().repeat_interleave(cars.count // count, 0)
    memory, pictures = mind.model.lstm.blank(cars.count), cars.begin()
    returns, since = np.zeros(cars.count), np.zeros(cars.count, np.int64)
    alive = np.ones(cars.count, np.bool_)
    for t in range(steps):
        senses = mind.code(torch.from_numpy(pictures))
        raw = controller(vectors, senses, memory)
        action, memory = mind.remember(senses, raw, memory)
        rewards, ended = cars.step(action.numpy(), pictures, alive)
        returns += rewards
        since = np.where(rewards > 0, 0, since + 1)
        bored = alive & ~ended & (since >= patience)
        returns[bored] -= COST * (steps - t - 1)
        alive &= ~ended & ~bored
        if not alive.any():
            break
    return returns.reshape(count, -1)


def collected(seed: int) -> Episodes:
    """Windows of cars that hold each random action for some steps."""
    rng, cars = np.random.default_rng(seed), Cars(1, CARS, seed + 200_000)
    pictures, all_of_them = cars.begin(), np.ones(CARS, np.bool_)
    shape = (CARS * LAPS, WINDOW)
    seen = np.zeros((*shape, *pictures.shape[1:]), np.uint8)
    acted, rewarded = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.float32)
    lengths, reward = np.full(CARS * LAPS, WINDOW), np.zeros(CARS)
    action, left = np.zeros((CARS, 3), np.float32), np.zeros(CARS, np.int64)
    for row in range(LAPS * WINDOW):
        lap, t = divmod(row, WINDOW)
        mine = slice(lap * CARS, (lap + 1) * CARS)
        new = (left == 0)[:, None]
        action = np.where(new, rng.uniform(-1, 1, (CARS, 3)), action).astype(np.float32)
        left = np.where(left == 0, rng.integers(0, HOLD, CARS), left - 1)
        seen[mine, t], acted[mine, t], rewarded[mine, t] = pictures, action, reward
        reward, ended = cars.step(action, pictures, all_of_them)  # after an end it begins anew
        lengths[mine] = np.where(ended & (lengths[mine] == WINDOW), t + 1, lengths[mine])
    parts = (torch.from_numpy(each) for each in (seen, acted, rewarded, lengths))
    return Episodes(*parts)
