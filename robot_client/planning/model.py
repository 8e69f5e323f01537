"""What planning needs of a model and of an action space, and how a candidate is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.robot import Action
from robot_client.schema import ActionSpace

Floats = NDArray[np.float32]
State = Mapping[str, NDArray[Any]]  # recurrent state by name, (N, ...)
Choose = Callable[[int, State], Floats]  # step and state -> actions (N, A)


@dataclass(frozen=True)
class Model:
    """A world model on N rows at a time.

    Args:
        imagine: (state, actions (N, A), generator) -> next state, rewards (N,) that come with it,
            and the chance (N,) that the episode goes on after it.
        propose: (state, generator) -> actions (N, A) of a policy, if there is one.
        value: state -> (N,) return to come, if it is known.
        discount: factor of what follows a step.
    """

    imagine: Callable[[State, Floats, np.random.Generator], tuple[State, Floats, Floats]]
    propose: Callable[[State, np.random.Generator], Floats] | None = None
    value: Callable[[State], Floats] | None = None
    discount: float = 1.0


@dataclass(frozen=True)
class Actions:
    """An action space in the model's scale.

    Args:
        low, high: (A,) bounds of a Box's numbers; infinite where there is none.
        scale, middle: (A,) from there to the robot's scale.
        discrete: one-hot instead; A is the number of choices.
    """

    low: Floats
    high: Floats
    scale: Floats
    middle: Floats
    discrete: bool

    @staticmethod
    def of(space: ActionSpace) -> Actions:
        """Raises ValueError for a Box of more than one axis."""
        if isinstance(space, spaces.Discrete):
            zeros = np.zeros(int(space.n), np.float32)
            return Actions(zeros, zeros + 1, zeros + 1, zeros, discrete=True)
        if len(space.shape) != 1:
            raise ValueError(f"a planner takes a Box of one axis, not {space.shape}")
        bounded = np.isfinite(space.low) & np.isfinite(space.high)
        low, high = np.where(bounded, space.low, -1), np.where(bounded, space.high, 1)
        scale, middle = (high - low) / 2, (high + low) / 2
        bounds = (space.low - middle) / scale, (space.high - middle) / scale
        return Actions(
            bounds[0].astype(np.float32),
            bounds[1].astype(np.float32),
            scale.astype(np.float32),
            middle.astype(np.float32),
            discrete=False,
        )

    @property
    def width(self) -> int:
        """A."""
        return len(self.low)

    def rest(self, horizon: int) -> Floats:
        """(H, A) of the middle of a Box, or of equal chances."""
        value = 1 / self.width if self.discrete else 0.0
        middle = np.full((horizon, self.width), value, np.float32)
        return middle if self.discrete else middle.clip(self.low, self.high)

    def decode(self, action: Floats) -> Action:
        """(A,) to the robot's scale: (A,) float32 within the bounds, or () int64."""
        if self.discrete:
            return np.asarray(action.argmax(), np.int64)
        robots: Action = action.clip(self.low, self.high) * self.scale + self.middle
        return robots


def one_hot(index: NDArray[np.intp], width: int) -> Floats:
    """(...) to (..., A)."""
    found = np.zeros((*index.shape, width), np.float32)
    np.put_along_axis(found, index[..., None], 1, -1)
    return found


def evaluate(
    model: Model,
    state: State,
    choose: Choose,
    horizon: int,
    rng: np.random.Generator,
    late: Callable[[], bool],
) -> tuple[Floats, NDArray[np.float64], int]:
    """Imagine H steps from N states.

    A return is the sum of the rewards, each times the product of discounts and continues before it,
    and of the value of the last state times all of them. What is not finite counts as the worst
    there is: a future that diverged must not be chosen.

    Returns:
        Actions (N, H, A), returns (N,), and the number of steps done. It is less than H when
        `late` said so before a step; there are no returns then.
    """
    rows = len(next(iter(state.values())))
    weight, total = np.ones(rows), np.zeros(rows)
    actions = []
    for step in range(horizon):
        if late():
            return np.zeros((0, horizon, 0), np.float32), np.zeros(0), step
        actions.append(choose(step, state))
        state, reward, goes_on = model.imagine(state, actions[-1], rng)
        total += weight * reward
        weight *= model.discount * goes_on
    if model.value is not None:
        total += weight * model.value(state)
    return np.stack(actions, 1), np.where(np.isfinite(total), total, -np.inf), horizon
