"""Every agent that learns from transitions masters a toy task in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from server.lockstep import preset, run

SMALL = {"batch_size": 64, "actor_widths": (64, 64), "critic_widths": (64, 64)}
FAST = {"actor_learning_rate": 2e-3, "critic_learning_rate": 2e-3, "discount": 0.95}


@dataclass(frozen=True)
class Toy:
    """What is learned, for how long, and the mean return that must come of it."""

    agent: str
    robot: str
    steps: int
    gate: float
    ratio: float = 64.0
    min_rows: int = 300
    preset: str = "laptop"
    config: dict[str, Any] = field(default_factory=dict)


# A random policy has about 13 on the line, a damped spring 44; 22 on the pole.
LINE = 'pointmass {"dims": 1}'
POLE = "gym:CartPole-v1"
POLE_CONFIG = {"widths": (64, 64), "discount": 0.98, "target_every": 100}
POLE_DYNA = {"batch_size": 64, "learning_rate": 1e-3, "double": True, "clip": 10.0}
POLE_DYNA |= {"widths": (64, 64), "target_every": 100, "random_last": 0.05}
SHORT_PLAN = {"horizon": 15, "candidates": 48, "iterations": 2, "elites": 6, "explore": 0.1}
# Three bits are flipped at random until they are right, seven are not. Who stands still among the
# points is a unit away, ten times; who goes straight there leaves about three in all.
BITS = 'gym:dreamfleet/BitFlip-v0 {"bits": 7}'
BITS_CONFIG = {"batch_size": 64, "widths": (128,), "target_rate": 0.01}
POINTS = "tests.unit.points:Points"
POINTS_CONFIG = {"batch_size": 64, "widths": (64, 64), "target_rate": 0.02}
# Near the goal or not: who learns from no other goals than its own leaves all ten.
FAR_POINTS = 'tests.unit.points:Points {"sparse": true}'
FAR_CONFIG = {**POINTS_CONFIG, "random_first": 0.3, "learning_rate": 2e-3}
QUICK = {"learning_rate": 6e-3, "n_step": 20}
RECALL_CONFIG = {**QUICK, "widths": (16,), "cells": 16, "entropy": 0.01}
FOLLOW_CONFIG = {**QUICK, "widths": (32,), "entropy": 0.001, "discount": 0.5}
LINE_DYNA = {"updates": 6, "real": 0.0, "warmup": 100, "discount": 0.95}
LINE_DYNA |= {"sac": preset("sac", "laptop") | {"widths": (64, 64), "learning_rate": 2e-3}}
TOYS = {
    "a3c": Toy("a3c", POLE, 12_000, 50.0),
    "a3c-memory": Toy("a3c", "tests.unit.recall:Recall", 4000, 0.9, config=RECALL_CONFIG),
    "a3c-numbers": Toy("a3c", "tests.unit.follow:Follow", 3000, -3.5, config=FOLLOW_CONFIG),
    "her": Toy("her", BITS, 2500, -4.5, ratio=32.0, config=BITS_CONFIG),
    "her-ddpg": Toy("her", FAR_POINTS, 1500, -7.0, config=FAR_CONFIG),
    "her-sac": Toy(
        "her", FAR_POINTS, 1500, -7.0, config={**FAR_CONFIG, "over": "sac", "discount": 0.9}
    ),
    "tdm": Toy("tdm", POINTS, 1500, -6.5, config={**POINTS_CONFIG, "horizon": 5}),
    "dqn": Toy("dqn", POLE, 4000, 60.0, config={**POLE_CONFIG, "random_updates": 1500}),
    "rainbow": Toy("dqn", POLE, 4000, 60.0, preset="rainbow-laptop", config=POLE_CONFIG),
    "ddpg": Toy("ddpg", LINE, 2000, 32.0, config={**SMALL, **FAST, "deviation": 0.3}),
    "d4pg": Toy(
        "d4pg", LINE, 2000, 32.0, config={**SMALL, **FAST, "low": 0.0, "high": 20.0, "n_step": 3}
    ),
    "mve": Toy(
        "mve",
        LINE,
        2000,
        32.0,
        config={
            **SMALL,
            **FAST,
            "deviation": 0.3,
            "model_widths": (64, 64),
            "horizon": 2,
            "warm_up": 200,
        },
    ),
    "naf": Toy(
        "naf",
        LINE,
        1500,
        32.0,
        config={
            "batch_size": 64,
            "widths": (64, 64),
            "learning_rate": 2e-3,
            "discount": 0.95,
            "imagined_updates": 2,
            "imagined_until": 600,
            "refit_every": 100,
        },
    ),
    "dyna": Toy(
        "dyna",
        POLE,
        1200,
        60.0,
        config={"updates": 3, "warmup": 100, "dqn": {**POLE_DYNA, "random_updates": 1000}},
    ),
    "dyna-sac": Toy("dyna", LINE, 550, 30.0, min_rows=100, config=LINE_DYNA),  # SAC alone: 27
    "mpc": Toy("mpc", LINE, 500, 24.0, ratio=384.0, config={"plan": SHORT_PLAN}),
    "sac": Toy(
        "sac",
        LINE,
        2000,
        32.0,
        config={"batch_size": 64, "widths": (64, 64), "learning_rate": 2e-3, "discount": 0.95},
    ),
    "world-models": Toy(  # from pictures; its controller has seen nothing but dreams
        "world-models",
        'pointmass {"dims": 1, "camera": true}',
        2300,
        26.0,
        ratio=256.0,
        config={
            "keys": "camera",
            "batch_length": 16,
            "burn_in": 2,
            "latent": 4,
            "frames": 48,
            "units": 32,
            "collect_episodes": 5,
            "vision_updates": 800,
            "memory_updates": 700,
            "population": 16,
            "deviation": 0.5,
            "dream_steps": 50,
        },
    ),
    "world-models-robots": Toy(  # from pictures too; each candidate is tried by the robot once
        "world-models",
        'tests.unit.follow:Follow {"camera": true}',
        2500,
        -2.5,
        ratio=8.0,
        min_rows=50,
        config={
            "batch_size": 4,
            "batch_length": 4,
            "burn_in": 1,
            "latent": 1,
            "frames": 16,
            "units": 2,
            "components": 1,
            "sees": "z",
            "collect_episodes": 10,
            "vision_learning_rate": 3e-3,
            "vision_updates": 300,
            "memory_updates": 10,
            "population": 6,
            "episodes": 1,
            "deviation": 1.0,
            "evolve": "robots",
        },
    ),
}


@pytest.mark.timeout(600)  # 5 to 25 s of one core
@pytest.mark.parametrize("name", TOYS)
def test_it_learns(name: str) -> None:
    toy = TOYS[name]
    result = run(
        toy.agent,
        toy.robot,
        steps=toy.steps,
        config=preset(toy.agent, toy.preset) | toy.config,
        train_ratio=toy.ratio,
        min_rows=toy.min_rows,
        max_debt=32,
        device="cpu",
        eval_episodes=5,
    )

    assert result["evaluation_mean"] >= toy.gate, result["evaluation"]


def test_naf_follows_the_controller_that_ilqg_finds() -> None:
    """Episodes by the controller earn twice what they did at random, before the net can."""
    config = {"batch_size": 64, "widths": (32,), "discount": 0.95, "refit_every": 50}
    imagined = {"imagined_updates": 1, "imagined_steps": 1, "ilqg": 1.0}
    result = run(
        "naf",
        LINE,
        steps=700,
        config=preset("naf", "laptop") | config | imagined,
        train_ratio=64.0,
        min_rows=300,
        max_debt=32,
        device="cpu",
        eval_episodes=0,
    )
    earned = [total for _, total in result["curve"]]
    assert sum(earned[-4:]) / 4 >= 26, earned


@pytest.mark.parametrize("name", ["a3c", "her", "naf", "rainbow", "sac", "tdm"])
def test_equal_seeds_learn_alike(name: str) -> None:
    toy = TOYS[name]
    one, two, other = (
        run(
            toy.agent,
            toy.robot,
            steps=250,
            seed=seed,
            config=preset(toy.agent, toy.preset) | toy.config,
            train_ratio=toy.ratio,
            min_rows=150,
            max_debt=32,
            device="cpu",
            eval_episodes=1,
        )
        for seed in (0, 0, 1)
    )
    assert one["updates"] == two["updates"] > 5  # fresh rollouts are learned from once
    assert (one["curve"], one["evaluation"]) == (two["curve"], two["evaluation"])
    assert one["curve"] != other["curve"]
