"""What a teacher, the policy of a bundle, would do in replayed rows. It runs as on a robot.

`server.teachers` says what a folder of teachers is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.act import Act
from robot_client.actor_policy import ActorPolicy
from robot_client.bundle import Manifest, read_safetensors
from robot_client.policy import OnnxGraphs
from robot_client.ports import Arrays, Carry, Policy
from robot_client.robot import as_action
from robot_client.schema import ACTION, IS_FIRST, ActionSpace, Columns, space_hash, task_code
from server.errors import Invalid
from server.replay.sampler import Batch
from server.replay.transitions import TransitionSampler
from server.replay.view import Episode, Rows
from server.teachers import FILE

Said = dict[str, NDArray[Any]]


class Teacher:
    """A policy of a bundle that is asked what it would do.

    Args:
        folder: its own; see `server.teachers`.
        observation_space, action_space: of the rows; Invalid if they are not the teacher's.
    """

    def __init__(
        self, folder: Path, observation_space: spaces.Dict, action_space: ActionSpace
    ) -> None:
        about = json.loads((folder / FILE).read_bytes())
        self.task = str(about["task"])
        self._manifest = manifest = Manifest.from_json(about["manifest"])
        self._keys, self._action_space = sorted(observation_space.spaces), action_space
        for name, mine, wanted in (
            ("observation_space", observation_space, manifest.observation_space),
            ("action_space", action_space, manifest.action_space),
        ):
            if space_hash(mine) != wanted:
                raise Invalid(f"teachers.{folder.name}.{name}", wanted[:12], space_hash(mine)[:12])
        names = Act().graphs(manifest)
        read = {name: (folder / manifest.graphs[name]).read_bytes() for name in names}
        tensors = read_safetensors((folder / manifest.weights).read_bytes())
        self._graphs = OnnxGraphs(manifest, read, tensors)

    def policy(self, task: str) -> Policy:
        """What acts, in a task."""
        return Act(task=task).policy(self._manifest, self._graphs, self._action_space)

    def judge(
        self, policy: Policy, carry: Carry, columns: Columns, rng: np.random.Generator
    ) -> tuple[list[Said], Carry]:
        """What `policy` says of consecutive rows (N, ...), by row; and its carry for the next one.

        It goes on from the action that was executed, whatever it would have done itself.
        """
        said: list[Said] = []
        for k in range(len(columns[ACTION])):
            obs = {key: columns[key][k] for key in self._keys}
            row, carry = self._ask(policy, carry, obs, bool(columns[IS_FIRST][k]), rng)
            said.append(row)
            carry = Carry(carry.state, as_action(self._action_space, columns[ACTION][k]))
        return said, carry

    def _ask(
        self, policy: Policy, carry: Carry, obs: Said, first: bool, rng: np.random.Generator
    ) -> tuple[Said, Carry]:
        if not isinstance(policy, ActorPolicy):
            action, after, _ = policy.step(carry, obs, first, rng, explore=False)
            return self._said({"out_action": np.asarray(action)[None]}), after
        out, state, _ = policy.observe("policy", carry, obs, first, rng, explore=False)
        return self._said(out), Carry(state, carry.prev_action)

    def _said(self, out: Arrays) -> Said:
        """One row's columns, as `agents.agent.Taught` has them."""
        action = out["out_action"][0]
        if isinstance(self._action_space, spaces.Discrete):
            own = np.eye(int(self._action_space.n), dtype=np.float32)[int(action)]
            scores = out.get("out_q", out.get("out_logits", own[None]))[0]
            # An action alone is sharpened as values are: its teacher is certain of it.
            sharp = np.array("out_logits" not in out or "out_q" in out)
            return {"action": action, "scores": scores, "valued": sharp}
        none = np.zeros_like(action), np.ones_like(action)
        valued = {"out_mean", "out_std"} <= out.keys()
        mean, std = (out["out_mean"][0], out["out_std"][0]) if valued else none
        return {"action": action, "mean": mean, "std": std, "valued": np.array(valued)}


def load_teachers(
    folder: Path, observation_space: spaces.Dict, action_space: ActionSpace
) -> list[Teacher]:
    """All teachers of a folder, in order. Raises Invalid when there are none, or one does not fit.

    Raises BundleError when a bundle is damaged.
    """
    found = sorted(folder.glob(f"*/{FILE}"), key=lambda path: int(path.parent.name))
    if not found:
        raise Invalid("teachers", "a policy to learn from; see `dreamfleet policies compress`", 0)
    return [Teacher(path.parent, observation_space, action_space) for path in found]


@dataclass
class _Listening:
    """How far a teacher has followed an episode."""

    policy: Policy
    carry: Carry
    rng: np.random.Generator
    done: int


class TaughtSampler(TransitionSampler):
    """Transitions with what a teacher says of them, as `agents.agent.Taught` describes it.

    An episode is followed from its beginning, or the oldest row in view, when a row of it is drawn
    for the first time; what is said is kept as long as the row.
    """

    def __init__(self, *args: Any, teachers: Sequence[Teacher], seed: int = 0) -> None:
        super().__init__(*args)
        self._teachers, self._seed = teachers, seed
        self._said: Said = {}
        self._owner = np.full(self._view.capacity, -1, np.int64)  # place -> row that it is about
        self._open: dict[int, _Listening] = {}  # by an episode's first row

    def _assemble(self, rows: Rows) -> Batch:
        batch = super()._assemble(rows)
        for row in rows.tolist():
            if self._owner[row % self._view.capacity] != row:
                self._follow_episode(self._view.episode_of(row)[0])
        places, place = rows % self._view.capacity, self._numbers.place
        return batch | {f"teacher/{k}": place(v[places]) for k, v in self._said.items()}

    def _follow_episode(self, episode: Episode) -> None:
        teacher = next((t for t in self._teachers if t.task == episode.task), None)
        teacher = teacher or next((t for t in self._teachers if not t.task), self._teachers[0])
        ear = self._open.pop(episode.ids[0], None) or self._listening(teacher, episode)
        start = max(ear.done, episode.start)
        ids = np.array(episode.ids[start:], np.int64)
        names = [name for name in self._view.columns if name != "reward"]
        columns = self._view.gather(ids, names)
        # Rows before it have fallen out of view, or never were in it.
        columns[IS_FIRST][0] |= ear.done < start or not ear.done
        said, ear.carry = teacher.judge(ear.policy, ear.carry, columns, ear.rng)
        task = task_code(teacher.task)
        ear.done = len(episode.ids)
        self._keep(ids, [{**row, "task": task} for row in said])
        if not episode.closed:
            self._open[episode.ids[0]] = ear

    def _listening(self, teacher: Teacher, episode: Episode) -> _Listening:
        policy = teacher.policy(episode.task)
        rng = np.random.default_rng((self._seed, episode.number))
        return _Listening(policy, policy.init(), rng, 0)

    def _keep(self, ids: Rows, said: Sequence[Said]) -> None:
        places = ids % self._view.capacity
        for name in said[0]:
            rows = np.stack([row[name] for row in said])
            if name not in self._said:
                shape = (self._view.capacity, *rows.shape[1:])
                self._said[name] = np.zeros(shape, rows.dtype)
            self._said[name][places] = rows
        self._owner[places] = ids
