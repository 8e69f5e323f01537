"""Transitions whose goals are put in afterwards (Andrychowicz et al. 2017, "Hindsight experience
replay"), as they are sampled."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robot_client.schema import ACTION, IS_TERMINAL, REWARD, Task
from server.errors import Invalid
from server.replay.sampler import Batch, Numbers
from server.replay.transitions import NOT_OBSERVED, TransitionSampler
from server.replay.view import ReplayView, Rows

Strategy = Literal["future", "final", "episode"]


class GoalSampler(TransitionSampler):
    """Transitions of which a share has another goal, as `agents.agent.GoalTransitions` says.

    With the future strategy the new goal is the one achieved at the arrival of the transition or
    any later row of its episode, all equally likely. Rewards of rows with a new goal are the
    task's, of others those recorded. Where reaching a goal ends the episode, a new goal ends it
    where it is first reached, and one that is reached already is not put in. What the task declares
    terminal is judged anew, too.

    Args:
        view, batch, n_step, discount, rng, numbers, priority: as for any transitions.
        task: the robots'. Raises Invalid when it declares no goals or no reward.
        relabelled: share of the rows that may get another goal.
        strategy: where in the episode that was achieved.
    """

    def __init__(
        self,
        view: ReplayView,
        batch: int,
        n_step: int,
        discount: float,
        rng: np.random.Generator,
        numbers: Numbers | None = None,
        priority: float = 0.0,
        *,
        task: Task | None,
        relabelled: float = 0.8,
        strategy: Strategy = "future",
    ) -> None:
        super().__init__(view, batch, n_step, discount, rng, numbers, priority)
        if task is None or task.goals is None or task.reward is None:
            raise Invalid("task", "goals and a reward, declared by the robot", task)
        self._task, self._goals = task, task.goals
        self._relabelled, self._strategy = relabelled, strategy

    def _assemble(self, rows: Rows) -> Batch:
        view, names = self._view, self._view.columns
        path, steps = self._follow(rows)
        chosen = self._choose(rows)
        goals, known = self._goals_of(rows, chosen)
        rewards = view.gather(path[:, 1:], [REWARD])[REWARD]
        ended = view.gather(path[:, -1], [IS_TERMINAL])[IS_TERMINAL]
        if known.any():
            rewards[known] = self._rewards(path[known], goals[known])
            if self._goals.ends or self._task.terminal is not None:
                steps[known], ended[known] = self._cut(path[known], steps[known], goals[known])
        ends = path[np.arange(len(rows)), steps]
        observed = [n for n in names if n not in NOT_OBSERVED]
        batch = self._numbers.gather(rows, [*names, *view.extras])
        after = self._numbers.gather(ends, observed)
        desired = self._numbers.place(goals)
        batch[self._goals.desired] = after[self._goals.desired] = desired
        batch |= self._values(rewards, steps, ended)
        return batch | {f"next/{name}": value for name, value in after.items()} | {"row_id": rows}

    def _choose(self, rows: Rows) -> Rows:
        """(B,) the rows whose achieved goals are put in, -1 for those that keep theirs."""
        picked = self._rng.random(len(rows)) < self._relabelled
        places = self._rng.random(len(rows))
        chosen = np.full(len(rows), -1, np.int64)
        for k in np.flatnonzero(picked).tolist():
            episode, index = self._view.episode_of(int(rows[k]))
            count = len(episode.ids)
            first = {"future": index + 1, "final": count - 1, "episode": episode.start}
            low = first[self._strategy]
            chosen[k] = episode.ids[low + int(places[k] * (count - low))]
        return chosen

    def _goals_of(self, rows: Rows, chosen: Rows) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """(B, g) goals, and (B,) which of them are new."""
        achieved, desired = self._goals.achieved, self._goals.desired
        found = self._view.gather(rows, [achieved, desired])
        known = chosen >= 0
        new = self._view.gather(np.where(known, chosen, rows), [achieved])[achieved]
        if self._goals.ends:
            known &= ~self._goals.reached(found[achieved], new)
        return np.where(known[:, None], new, found[desired]), known

    def _rewards(self, path: Rows, goals: NDArray[Any]) -> NDArray[Any]:
        """(K, n) of the steps of paths (K, n + 1) towards goals (K, g)."""
        assert self._task.reward is not None
        read = [n for n in self._view.columns if n in self._task.reward.names]
        arrived = self._view.gather(path[:, 1:], read)
        action = self._view.gather(path[:, :-1], [ACTION])[ACTION]
        return np.asarray(self._task.rewards(self._aimed(arrived, goals), action), np.float32)

    def _aimed(self, arrived: Batch, goals: NDArray[Any]) -> Batch:
        """Observations (K, n, ...) with goals (K, g) in the place of theirs."""
        lead = next(iter(arrived.values())).shape[:2]
        aimed = np.broadcast_to(goals[:, None], (*lead, goals.shape[-1]))
        return arrived | {self._goals.desired: aimed}

    def _cut(self, path: Rows, steps: Rows, goals: NDArray[Any]) -> tuple[Rows, NDArray[np.bool_]]:
        """(K,) steps until the episode is over, or as many as there are; (K,) whether it is."""
        counted = np.arange(path.shape[1] - 1) < steps[:, None]
        over = self._over(path[:, 1:], goals) & counted
        ended = np.logical_or.reduce(over, 1)
        return np.where(ended, over.argmax(1) + 1, steps), ended

    def _over(self, rows: Rows, goals: NDArray[Any]) -> NDArray[np.bool_]:
        """(K, n) whether the episode would be over in rows (K, n) with goals (K, g)."""
        terminal = self._task.terminal
        reads = {self._goals.achieved} | (terminal.names if terminal else set())
        found = self._view.gather(rows, sorted(reads & set(self._view.columns)))
        over = np.zeros(rows.shape, bool)
        if self._goals.ends:
            over |= self._goals.reached(found[self._goals.achieved], goals[:, None])
        if terminal is not None:
            over |= np.broadcast_to(
                np.asarray(terminal(self._aimed(found, goals))) != 0, over.shape
            )
        return over
