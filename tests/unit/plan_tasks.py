"""Tasks whose true dynamics are given to a planner as its model, many states at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

from robot_client.bundle import PlanSettings
from robot_client.clock import FreeRunningClock
from robot_client.planning.model import Actions, Floats, Model, State
from robot_client.planning.planner import Planner
from robot_client.schema import ActionSpace

Rng = np.random.Generator
POINT = spaces.Box(-1.0, 1.0, (2,), np.float32)
LEFT_OR_RIGHT = spaces.Discrete(2)
FORCE = spaces.Box(-1.0, 1.0, (1,), np.float32)


@dataclass(frozen=True)
class Task:
    """A model, where it starts, and what its actions are."""

    model: Model
    space: ActionSpace
    start: Callable[[Rng], State]


def push(state: State, action: Floats, rng: Rng) -> tuple[State, Floats, Floats]:
    """`sim.pointmass` in two dimensions: reward exp(-distance / 0.3)."""
    x, v = state["x"], state["v"]
    v = v + (3.0 * action - v) / 10
    moved = x + v / 10
    v = np.where(np.abs(moved) > 1, 0.0, v)
    x = moved.clip(-1, 1)
    reward = np.exp(-np.linalg.norm(x, axis=-1) / 0.3)
    return {"x": x, "v": v}, reward, np.ones(len(x))


def point_mass() -> Task:
    return Task(
        Model(push),
        POINT,
        lambda rng: {"x": rng.uniform(-1, 1, (1, 2)), "v": np.zeros((1, 2))},
    )


def swing(s: np.ndarray, force: np.ndarray) -> np.ndarray:
    """Gymnasium's CartPole equations (Barto, Sutton and Anderson 1983), (N, 4), by Euler."""
    x, x_dot, angle, angle_dot = s.T
    sin, cos = np.sin(angle), np.cos(angle)
    push = (force + 0.05 * angle_dot**2 * sin) / 1.1
    turn = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
    slide = push - 0.05 * turn * cos / 1.1
    return np.stack(
        [x + 0.02 * x_dot, x_dot + 0.02 * slide, angle + 0.02 * angle_dot, angle_dot + 0.02 * turn],
        -1,
    )


def balance(state: State, action: Floats, rng: Rng) -> tuple[State, Floats, Floats]:
    """A reward of 1 for each step that the pole stands; then it is over."""
    force = 10 * (action[:, 1] - action[:, 0]) if action.shape[1] == 2 else 10 * action[:, 0]
    s = swing(state["s"], force)
    stands = ((np.abs(s[:, 0]) < 2.4) & (np.abs(s[:, 2]) < 0.2095)).astype(float)
    return {"s": s}, stands, stands


def cart_pole(space: ActionSpace) -> Task:
    """From a tilt, at which a pole that is left alone, or pushed at random, falls within 0.5 s."""
    return Task(
        Model(balance),
        space,
        lambda rng: {"s": np.array([[0, 0, 0.08 * rng.choice([-1, 1]), 0.0]])},
    )


def play(task: Task, settings: PlanSettings, steps: int, seed: int) -> float:
    """Return of an episode of planning at every step."""
    rng, clock = np.random.default_rng(seed), FreeRunningClock()
    planner = Planner(task.model, Actions.of(task.space), settings)
    state, memory = task.start(rng), planner.fresh()
    total, alive = 0.0, 1.0
    for _ in range(steps):
        decision = planner.decide(state, memory, rng, clock)
        memory = decision.memory
        state, reward, goes_on = task.model.imagine(state, decision.plan[:1], rng)
        total += alive * float(reward[0])
        alive *= float(goes_on[0])
    return total


def swing_up(state: State, action: Floats, rng: Rng) -> tuple[State, Floats, Floats]:
    """From hanging; two steps of the equations at a time. A reward of 1 upright, 0 hanging."""
    s = state["s"]
    for _ in range(2):
        s = swing(s, 10 * action[:, 0])
    reward = (1 + np.cos(s[:, 2])) / 2 - 0.02 * s[:, 0] ** 2
    return {"s": s}, reward, np.ones(len(s))


def hanging_pole() -> Task:
    return Task(Model(swing_up), FORCE, lambda rng: {"s": np.array([[0, 0, np.pi, 0.0]])})
