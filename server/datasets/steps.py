"""Between rows and steps: a row has the reward that came with it, a step that of its action.

Of N rows, the steps of LeRobot and Minari are the first N - 1, each with the action of its row, and
the reward and the flags of the row after it. The last row is the observation that is left over:

    row            0      1      2      3 (last)
    observation    o0     o1     o2     o3
    action         a0     a1     a2     -
    reward         r0     r1     r2     r3
    step               0      1      2
    action             a0     a1     a2
    reward             r1     r2     r3
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.schema import (
    ACTION,
    ACTION_REQUESTED,
    IS_FIRST,
    IS_LAST,
    IS_TERMINAL,
    NO_POLICY,
    POLICY_VERSION,
    REWARD,
    SOURCE,
    STEP_DTYPES,
    TIME_MONOTONIC,
    TIME_WALL,
    Columns,
    Source,
)

NOT_OBSERVED = frozenset({*STEP_DTYPES, ACTION, ACTION_REQUESTED})


@dataclass(frozen=True)
class Steps:
    """T steps of an episode.

    Args:
        observations: (T + 1, ...) by key; the last follows the last action.
        actions: (T, ...)
        rewards: (T,) float32, each the result of its action.
        terminations: (T,) whether the task ended with what the action led to.
        truncations: (T,) whether the episode ended there although the task did not.
    """

    observations: Columns
    actions: NDArray[Any]
    rewards: NDArray[Any]
    terminations: NDArray[np.bool_]
    truncations: NDArray[np.bool_]


def to_steps(columns: Mapping[str, NDArray[Any]]) -> Steps:
    """The steps of an episode of N >= 2 rows; the last is terminal or, of whatever kind, cut."""
    terminal = columns[IS_TERMINAL][1:].astype(np.bool_)
    cut = np.zeros(len(terminal), np.bool_)
    cut[-1] = not terminal[-1]  # an episode that is not finished ends here as far as is known
    return Steps(
        {name: column for name, column in columns.items() if name not in NOT_OBSERVED},
        columns[ACTION][:-1],
        columns[REWARD][1:],
        terminal,
        cut,
    )


def to_rows(steps: Steps, control_hz: float) -> Columns:
    """The rows of steps of which no more is known: a person's, in time with `control_hz`."""
    count = len(steps.rewards) + 1
    index = np.arange(count)
    last = index == count - 1
    action = np.concatenate([steps.actions, np.zeros_like(steps.actions[:1])])
    rows = {
        REWARD: np.concatenate([[0], steps.rewards]),
        IS_FIRST: index == 0,
        IS_LAST: last,
        IS_TERMINAL: last & bool(steps.terminations[-1]),
        POLICY_VERSION: np.full(count, NO_POLICY),
        SOURCE: np.full(count, Source.HUMAN),
        TIME_MONOTONIC: index / control_hz,
        TIME_WALL: index / control_hz,
    }
    typed = {name: column.astype(STEP_DTYPES[name]) for name, column in rows.items()}
    return {**steps.observations, **typed, ACTION: action, ACTION_REQUESTED: action}


def beside(columns: Mapping[str, NDArray[Any]]) -> Columns:
    """(N, ...) what a row has beyond its observation and action: kept so that nothing is lost."""
    return {name: columns[name] for name in (*STEP_DTYPES, ACTION_REQUESTED)}


def restored(observations: Columns, action: NDArray[Any], kept: Columns) -> Columns:
    """The very rows that `beside` was taken from, given the (N, ...) observations and actions."""
    return {**observations, ACTION: action, **kept}


def demonstration(columns: Columns) -> Columns:
    """The rows as another experiment may learn from them: a person's, of none of its policies."""
    count = len(columns[REWARD])
    return columns | {
        SOURCE: np.full(count, Source.HUMAN, STEP_DTYPES[SOURCE]),
        POLICY_VERSION: np.full(count, NO_POLICY, STEP_DTYPES[POLICY_VERSION]),
    }
