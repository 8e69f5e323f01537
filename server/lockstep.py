"""One deterministic process: a robot, its replay and its agent, at an exact train ratio.

    python -m server.lockstep --agent dreamer --robot pointmass --steps 5000 --seed 0 --out runs/a

The same runtime, store, sampler and agent as the service's, without network or threads: after
every few rows the agent makes exactly the updates that the train ratio grants. Run twice with one
seed, it writes the same `metrics.jsonl` twice. Tests, comparisons and the claims of papers use it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.registry import agent_class
from robot_client.act import Act
from robot_client.clock import FreeRunningClock, SystemClock
from robot_client.errors import DreamfleetError
from robot_client.ports import Episode
from robot_client.robot import Robot
from robot_client.robots import make_robot
from robot_client.runtime import Runtime
from robot_client.schema import IS_LAST, REWARD, Chunk, Columns, space_to_json
from server.errors import Conflict, Invalid
from server.job import Job
from server.replay.store import ReplayStore
from server.torch_policy import OnePolicy, TorchGraphs, live_manifest
from server.training import (
    ROW_ID,
    MeanMetrics,
    make_agent,
    make_limiter,
    make_sampler,
    make_view,
    pick_device,
    to_tensors,
)

_ROWS_PER_CHUNK = 16
_EPOCH = "lockstep"
_RECENT = 10  # episodes in the running mean


class Lockstep:
    """Acts and learns by turns.

    Args:
        job: agent, config, train ratio, seed; its spaces are the robot's.
        robot: not yet connected.
        directory: for the replay and `metrics.jsonl`; Conflict if it holds those of another run.
        act: by the agent's policy or by planning; None takes the agent's choice.
    """

    def __init__(self, job: Job, robot: Robot, directory: Path, act: Act | None = None) -> None:
        if (directory / "replay").exists():
            raise Conflict(f"{directory} holds another run: choose an empty folder")
        torch.set_num_threads(job.threads)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else it refuses GPUs
        # On a GPU, some steps of image networks have no deterministic form: torch then warns.
        on_cpu = pick_device(job.device).type == "cpu"
        torch.use_deterministic_algorithms(True, warn_only=not on_cpu)
        self._job, self._robot, self._act = job, robot, act or Act()
        self._agent = make_agent(job)
        self._store = ReplayStore(directory / "replay")
        self._view = make_view(self._store, self._agent, job.capacity)
        self._sampler = make_sampler(self._agent.demand, self._view, job.seed)
        self._limiter = make_limiter(self._agent.demand, job)
        self._log = open(directory / "metrics.jsonl", "w")  # noqa: SIM115 - closed by `close`
        self._metrics = MeanMetrics()
        self._rows: list[Columns] = []
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self.next_seq = self.first_seq = self.next_episode = 0
        self.updates = 0
        self.curve: list[tuple[int, float]] = []  # rows so far, return of the episode

    def train(self, steps: int) -> None:
        """Let the robot take `steps` steps, learning as it goes."""
        self._run(self, explore=True, seed=self._job.seed, max_steps=steps)

    def evaluate(self, episodes: int) -> list[float]:
        """Returns of `episodes` episodes with the mode of the policy; nothing is learned."""
        returns: list[float] = []
        self._run(
            _Forget(),
            explore=False,
            seed=self._job.seed + 100_000,
            max_episodes=episodes,
            on_episode=lambda episode: returns.append(episode.total_reward),
        )
        return returns

    def append(self, episode: int, columns: Columns) -> int:
        """Keep a row, as the runtime's recorder; learn when a chunk is full."""
        seq = self.next_seq
        self.next_seq, self.next_episode = seq + 1, episode + 1
        self._rows.append(columns)
        if len(self._rows) == _ROWS_PER_CHUNK or bool(columns[IS_LAST]):
            self._commit(episode)
            self._learn()
        return seq

    def close(self) -> None:
        """Close files."""
        self._log.close()
        self._store.close()

    def _run(self, recorder: Any, **options: Any) -> None:
        acting = self._agent.acting()
        manifest = live_manifest(acting, self._job.id, self._job.agent)
        graphs = TorchGraphs(acting, self._agent.device)
        policy = self._act.policy(manifest, graphs, self._robot.action_space)
        options.setdefault("on_episode", self._on_episode)
        # Training takes its time between two steps: the watchdog must not take that for silence.
        runtime = Runtime(
            self._robot,
            recorder,
            OnePolicy(policy),
            FreeRunningClock(),
            silence_s=3600.0,
            **options,
        )
        runtime.run()

    def _commit(self, episode: int) -> None:
        columns = {k: np.stack([row[k] for row in self._rows]) for k in self._rows[0]}
        first = self.next_seq - len(self._rows)
        self._store.append("robot", Chunk(_EPOCH, episode, first, columns))
        self._view.refresh()
        self._rows = []

    def _learn(self) -> None:
        if self._sampler is None:
            return
        for _ in range(self._limiter.allowed(self._view.head)):
            batch = self._sampler.sample()
            if batch is None:
                return
            self._limiter.spend()
            learned = self._agent.train(to_tensors(batch, self._agent.device))
            if learned.context:
                arrays = {k: t.cpu().numpy() for k, t in learned.context.items()}
                self._view.write_back(batch[ROW_ID], arrays)
            self._metrics.add(learned.metrics)
            self.updates += 1

    def _on_episode(self, episode: Episode) -> None:
        self.curve.append((self._view.head, episode.total_reward))
        self._recent.append(episode.total_reward)
        record = {
            "rows": self._view.head,
            "updates": self.updates,
            "episode": episode.number,
            REWARD: episode.total_reward,
            "recent": float(np.mean(self._recent)),
            **self._metrics.take(),
        }
        self._log.write(json.dumps(record) + "\n")
        self._log.flush()


class _Forget:
    """A recorder that keeps nothing."""

    next_seq = first_seq = next_episode = 0

    def append(self, episode: int, columns: Columns) -> int:
        self.next_episode = episode + 1
        return 0


def run(
    agent: str,
    robot_name: str,
    *,
    steps: int,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    directory: Path | None = None,
    eval_episodes: int = 10,
    act: Act | None = None,
    **job: Any,
) -> dict[str, Any]:
    """Train an agent on a robot and evaluate it. Returns a summary.

    Args:
        agent: registered name.
        robot_name: as `robot_client.robots.make_robot` takes it.
        steps: how many steps the robot takes.
        seed: of everything.
        config: of the agent.
        options: of the robot.
        directory: for metrics and replay; None takes a temporary one.
        eval_episodes: played at the end without exploration.
        act: how to act; None takes the agent's choice.
        job: further fields of `server.job.Job`, such as train_ratio.
    """
    robot = make_robot(robot_name, **(options or {}))
    full = Job(
        id=f"{agent}-{seed}",
        agent=agent,
        config=dict(config or {}),
        observation_space=space_to_json(robot.observation_space),
        action_space=space_to_json(robot.action_space),
        seed=seed,
        **job,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = directory or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        clock = SystemClock()
        start = clock.monotonic()
        lockstep = Lockstep(full, robot, folder, act)
        try:
            lockstep.train(steps)
            trained = clock.monotonic()
            evaluated = lockstep.evaluate(eval_episodes) if eval_episodes else []
        finally:
            lockstep.close()
    return {
        "job": full.model_dump(exclude={"observation_space", "action_space"}),
        "robot": robot_name,
        "steps": steps,
        "updates": lockstep.updates,
        "seconds": round(trained - start, 1),
        "curve": lockstep.curve,
        "evaluation": evaluated,
        "evaluation_mean": float(np.mean(evaluated)) if evaluated else None,
    }


def preset(agent: str, name: str | None) -> dict[str, Any]:
    """The fields of an agent's preset; without a name, of `laptop` or else none.

    Raises:
        Invalid: there is no such preset.
    """
    presets = agent_class(agent).config_type.presets
    if name is not None and name not in presets:
        raise Invalid("preset", f"one of {sorted(presets)}", name)
    return dict(presets.get(name or "laptop", {}))


def main(arguments: list[str]) -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(prog="dreamfleet train --lockstep", description=__doc__)
    parser.add_argument("--agent", default="dreamer", help="registered name of the agent")
    parser.add_argument(
        "--robot", "--env", default="pointmass", help="name, gym:ID or module:Class"
    )
    parser.add_argument("--steps", type=int, default=4000, help="steps that the robot takes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--preset", help="of the agent's configuration; laptop if there is one")
    parser.add_argument("--config", type=json.loads, default={}, help="further fields, as JSON")
    parser.add_argument("--options", type=json.loads, default={}, help="the robot's, as JSON")
    parser.add_argument("--train-ratio", type=float, default=96.0, help="replayed rows per row")
    parser.add_argument("--min-rows", type=int, default=300, help="rows before the first update")
    parser.add_argument("--eval-episodes", type=int, default=10)
    parser.add_argument("--act", choices=["actor", "planner"], help="the agent's choice if none")
    parser.add_argument("--plan", type=json.loads, default={}, help="plan settings, as JSON")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder for metrics.jsonl and the replay")
    got = parser.parse_args(arguments)
    summary = run(
        got.agent,
        got.robot,
        steps=got.steps,
        seed=got.seed,
        config=preset(got.agent, got.preset) | got.config,
        options=got.options,
        directory=got.out,
        eval_episodes=got.eval_episodes,
        act=Act(got.act, got.plan),
        train_ratio=got.train_ratio,
        min_rows=got.min_rows,
        device=got.device,
        threads=got.threads,
        max_debt=1_000_000,
    )
    print(json.dumps(summary, indent=1))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except DreamfleetError as error:
        sys.exit(f"dreamfleet train: {error}")
