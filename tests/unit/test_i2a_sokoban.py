"""The true model that I2A can imagine with is the world itself, step for step."""

from __future__ import annotations

from typing import Any, cast

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.grids import Planes
from agents.blocks.sokoban import SokobanRules
from agents.export import ActingExport
from agents.i2a import I2A, I2AConfig
from sim.envs import register
from sim.envs.sokoban import Sokoban
from sim.envs.sokoban_levels import read_level
from sim.envs.sokoban_solver import solve
from tests.contracts.test_agents import acts_as_torch, perturb

Step = tuple[np.ndarray[Any, Any], int, np.ndarray[Any, Any], float, bool]


def world(**options: Any) -> gymnasium.Env[Any, Any]:
    register()
    return gymnasium.make("dreamfleet/Sokoban-v0", observe="planes", **options)


def played(env: gymnasium.Env[Any, Any], count: int, skill: float, seed: int) -> list[Step]:
    """So many steps of random levels; of some of them a part of a solution is played."""
    rng, found = np.random.default_rng(seed), []
    actions = int(cast("spaces.Discrete", env.action_space).n)
    while len(found) < count:
        obs, _ = env.reset(seed=int(rng.integers(2**31)))
        level = cast("Sokoban", env.unwrapped).level
        assert level is not None
        known = list(solve(level) or ()) if rng.random() < skill else []
        over = False
        while not over and len(found) < count:
            action = known.pop(0) if known else int(rng.integers(actions))
            after, reward, terminated, truncated, _ = env.step(np.int64(action))
            found.append((obs, action, after, float(reward), terminated))
            obs, over = after, terminated or truncated
    return found


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"noop": True, "backwards": 20}, 3000),
        ({"noop": False, "backwards": 60}, 3000),
        ({"noop": False, "size": 10, "boxes": 4, "backwards": 60}, 4000),
    ],
)
def test_it_says_what_happens(options: dict[str, Any], count: int) -> None:
    env = world(**options)
    steps = played(env, count, skill=0.3, seed=0)
    obs, action, after, reward, over = (np.stack(column) for column in zip(*steps, strict=True))
    actions = int(cast("spaces.Discrete", env.action_space).n)
    planes = Planes(spaces.Dict(obs=env.observation_space))
    chosen = F.one_hot(torch.from_numpy(action), actions).float()
    said = SokobanRules(planes, actions)(planes({"obs": torch.from_numpy(obs)})[:, None], chosen)
    assert torch.equal((said.logits > 0).float(), planes({"obs": torch.from_numpy(after)}))
    np.testing.assert_allclose(said.reward, reward, atol=1e-6)
    earned = set(reward.round(3).tolist())
    assert {-0.1, -1.1, 0.9, 10.9} <= earned, "the steps do not show all that can happen"
    assert over.any()
    moved = (obs != after).any((1, 2, 3))
    assert 0.1 < moved.mean() < 0.95


def rules(drawing: str, way: int) -> tuple[torch.Tensor, float]:
    """The frame and the reward after one action, of five."""
    env = world(boxes=drawing.count("$") + drawing.count("*"))
    obs, _ = env.reset(seed=0, options={"level": read_level(drawing)})
    planes = Planes(spaces.Dict(obs=env.observation_space))
    frame = planes({"obs": torch.from_numpy(obs[None])})
    said = SokobanRules(planes, 5)(frame[:, None], F.one_hot(torch.tensor([way]), 5).float())
    return (said.logits[0] > 0).float() - frame[0], said.reward.item()


def row(squares: str) -> str:
    return "\n".join(["#" * 7, f"#{squares}#", *["#" * 7] * 5])


def test_a_level_that_is_solved_is_over() -> None:
    changed, earned = rules(row("-@*--"), 3)
    assert not changed.any()
    assert earned == 0


@pytest.mark.parametrize(
    ("squares", "way"), [("@$$..", 3), ("--.@$", 3), ("@-$.-", 2), (".-$-@", 0), (".-$@-", 4)]
)
def test_what_is_blocked_costs_a_step(squares: str, way: int) -> None:
    changed, earned = rules(row(squares), way)
    assert not changed.any()
    assert earned == pytest.approx(-0.1)


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_it_imagines_on_the_robot_as_here() -> None:
    small = {"channels": 4, "width": 8, "cells": 4, "frames": 1, "depth": 2, "model": "true"}
    space = world(noop=False).observation_space
    seen, moves = spaces.Dict(obs=space), spaces.Discrete(4)
    agent = I2A(seen, moves, I2AConfig.model_validate(small), torch.device("cpu"))
    acting = agent.acting()
    export = ActingExport(acting, seen, moves)
    perturb(acting)
    acts_as_torch(acting, export, seen, moves)
