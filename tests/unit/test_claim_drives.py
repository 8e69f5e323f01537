"""How the claims' cars are driven and their episodes told: by hand, in worlds that are counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.blocks.actions import ActionCodec
from agents.dream.controller import Controller
from benchmarks.claims import covers, tracks
from benchmarks.claims.mind import Mind
from benchmarks.claims.tracks import COST, Cars, drive
from sim.envs import car_racing

CODEC = ActionCodec(spaces.Box(-1.0, 1.0, (3,), np.float32))


class Schedule:
    """Cars whose rewards and ends are written down: (P E, T)."""

    def __init__(self, rewards: Any, ends: Any) -> None:
        self.rewards, self.ends = np.asarray(rewards, float), np.asarray(ends, bool)
        self.count, self.at, self.driven = len(self.rewards), 0, []

    def begin(self) -> Any:
        return np.zeros((self.count, 64, 64, 3), np.uint8)

    def step(self, actions: Any, pictures: Any, alive: Any) -> Any:
        self.driven.append(alive.copy())
        rewards, ends = self.rewards[:, self.at], self.ends[:, self.at]
        self.at += 1
        return np.where(alive, rewards, 0), ends & alive


def test_a_drive_ends_with_its_car_its_patience_or_its_steps() -> None:
    mind = Mind(CODEC, 64, 3, 2, 2, 1, seed=0)
    controller = Controller(2, 2, 3, "zh", 0)
    rewards = [
        [1, 1, 1, 1, 1, 1],  # all the way
        [2, 9, 9, 9, 9, 9],  # over after the first step
        [1, -COST, -COST, 9, 9, 9],  # nothing new twice
        [-COST, 1, -COST, 1, -COST, 1],
    ]
    ends = np.zeros((4, 6))
    ends[1, 0] = 1
    cars = Schedule(rewards, ends)
    candidates = np.zeros((2, controller.parameters))
    found = drive(mind, controller, candidates, cars, steps=6, patience=2)  # type: ignore[arg-type]
    # The third is counted as if it had gone on finding nothing for the three steps that were left.
    np.testing.assert_allclose(found, [[6, 2], [1 - 5 * COST, 3 - 3 * COST]])
    assert np.stack(cars.driven, 1).sum(1).tolist() == [6, 1, 3, 6]


class Pool:
    """What envpool gives: each of its cars counts its steps in its picture."""

    def __init__(self, cars: int, seed: int) -> None:
        self.cars, self.seed, self.steps, self.heard = cars, seed, np.zeros(cars, int), []

    def reset(self) -> Any:
        self.steps[:] = 0
        return self._pictures(np.arange(self.cars)), {}

    def step(self, actions: Any, mine: Any) -> Any:
        self.steps[mine] += 1
        self.heard.append((mine.tolist(), actions.copy()))
        ended = self.steps[mine] == 70
        reward = self.steps[mine] * 1.0
        self.steps[mine] *= ~ended  # the next picture is of the next episode
        return self._pictures(mine), reward, ended, np.zeros_like(ended), {}

    def _pictures(self, mine: Any) -> Any:
        shape = (len(mine), 96, 96, 3)
        return np.broadcast_to(self.steps[mine, None, None, None], shape).astype(np.uint8)


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[Pool]:
    made: list[Pool] = []

    def make(name: str, num_envs: int, num_threads: int, seed: int) -> Pool:
        made.append(Pool(num_envs, seed))
        return made[-1]

    library = SimpleNamespace(make_gymnasium=make)
    monkeypatch.setattr(tracks, "needs", lambda *_: library)
    return made


def test_drivers_have_the_same_tracks_and_only_cars_that_are_driven_move(pools: Any) -> None:
    cars = Cars(drivers=3, tracks=2, seed=5)
    assert [(pool.cars, pool.seed) for pool in pools] == [(2, 5)] * 3
    pictures = cars.begin()
    assert pictures.shape == (6, car_racing.PIXELS, car_racing.PIXELS, 3)
    alive = np.asarray([True, False, False, False, True, True])
    actions = np.arange(18, dtype=np.float32).reshape(6, 3) / 18
    rewards, ended = cars.step(actions, pictures, alive)
    assert [pool.heard[0][0] for pool in (pools[0], pools[2])] == [[0], [0, 1]]
    assert pools[1].heard == []
    np.testing.assert_allclose(pools[2].heard[0][1], car_racing.pedals(actions[4:]))
    assert rewards.tolist() == [1, 0, 0, 0, 1, 1]
    assert not ended.any()
    assert pictures[:, 0, 0, 0].tolist() == [1, 0, 0, 0, 1, 1]


def test_windows_of_cars_tell_what_was_seen_done_and_earned(
    pools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracks, "CARS", 3)
    monkeypatch.setattr(tracks, "LAPS", 2)
    found = tracks.collected(seed=0)
    pictures, rewards = found.pictures[..., 0, 0, 0], found.rewards
    assert found.lengths.tolist() == [64] * 3 + [6] * 3  # 64..69; the end's own picture is left out
    assert pictures[0].tolist() == list(range(64))
    assert rewards[0].tolist() == [0.0, *range(1, 64)]  # each came with its picture
    assert pictures[3, :6].tolist() == rewards[3, :6].tolist() == list(range(64, 70))
    heard = np.stack([actions for _, actions in pools[0].heard], 1)  # (cars, rows, 3)
    told = np.concatenate([found.actions[:3], found.actions[3:]], 1)
    np.testing.assert_allclose(heard, car_racing.pedals(told.reshape(-1, 3)).reshape(heard.shape))
    runs = np.diff(np.flatnonzero(np.abs(np.diff(told[0], axis=0)).sum(1)))
    assert 1 <= runs.min() <= runs.max() <= tracks.HOLD
    assert len(runs) > 10


class Game:
    """Take Cover, in which the n-th episode lasts 3 + 60 n steps of four tics."""

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.heard: list[list[int]] = []

    def reset(self, seed: int) -> Any:
        self.seeds.append(seed)
        self.heard.append([])
        return np.zeros((64, 64, 3), np.uint8), {}

    def step(self, action: int) -> Any:
        self.heard[-1].append(action)
        steps = len(self.heard[-1])
        over = steps == 3 + 60 * (len(self.heard) - 1)
        return np.full((64, 64, 3), steps, np.uint8), 4.0, over, False, {}


def test_episodes_of_take_cover_end_where_they_ended_or_are_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    game = Game()
    monkeypatch.setattr(covers, "TakeCover", lambda: game)
    monkeypatch.setattr(covers, "EPISODES", 3)
    sleeper = covers.Sleeper(seed=7)
    found, random = sleeper._episodes, sleeper.random
    assert random == 4 * (3 + 63 + 123) / 3
    assert found.lengths.tolist() == [4, 64, covers.LONGEST]
    assert found.rewards[0, :5].tolist() == [0, 1, 1, 1, 0]
    assert found.pictures[2, :, 0, 0, 0].tolist() == list(range(covers.LONGEST))
    for told, heard in zip(found.actions.tolist(), game.heard, strict=True):
        kept = min(len(heard), covers.LONGEST)
        assert told[:kept] == heard[:kept]
        for begin in range(0, len(heard), covers.HOLD):
            assert len(set(heard[begin : begin + covers.HOLD])) == 1
    batch = found.batch(torch.arange(3))
    assert batch["is_last"].int().argmax(1).tolist() == [3, 63, 99]
    assert batch["is_terminal"].any(1).tolist() == [True, True, False]
    # Tested on other episodes than were learned from, each time the same.
    controller = Controller(covers.LATENT, covers.UNITS, 3, "zhc", 0)
    told = len(game.seeds)
    monkeypatch.setattr(covers, "TESTED", 2)
    sleeper.played(controller, np.zeros(controller.parameters))
    assert game.seeds[told:] == [100_007, 100_008]
    assert set(game.seeds[:told]) == {200_007, 200_008, 200_009}
