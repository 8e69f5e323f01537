"""One deterministic process: robots, their replay and one agent, at an exact train ratio.

The same runtime, store, sampler and agent as the service's, without network or threads: after
every few rows the agent makes exactly the updates that the train ratio grants. Run twice with one
seed, it writes the same `metrics.jsonl` twice. Tests, comparisons and the claims of papers use it;
`server.train` is its command line.

Several robots, each named by a `--robot` of its own, act by turns, an episode each, and their rows
go into one replay: one network learns all their tasks, and only an agent whose policy is told the
task knows which is which.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents.agent import Acting, Tensors
from agents.registry import agent_class
from robot_client.act import Act
from robot_client.clock import FreeRunningClock, SystemClock
from robot_client.ports import Episode, Recorder, Summary
from robot_client.robot import Robot
from robot_client.robots import fit, make_robot
from robot_client.runtime import Runtime
from robot_client.schema import REWARD, Chunk, space_to_json
from robot_client.seeds import episode_seed
from server.errors import Conflict, Invalid
from server.job import Job
from server.progress import Standing
from server.recording import ROWS_PER_CHUNK, LastRewards, Recording
from server.replay.store import ReplayStore
from server.torch_policy import OnePolicy, TorchGraphs, live_manifest
from server.training import (
    ROW_ID,
    MeanMetrics,
    keep,
    make_agent,
    make_limiter,
    make_replay,
    make_sampler,
    make_teachers,
    make_view,
    make_write_backs,
    pick_device,
    to_tensors,
    written_back,
)

ONLY = "robot"  # stream of a robot that is alone
_RECENT = 10  # episodes in the running mean


class Evaluated(NamedTuple):
    """Of a robot's episodes that were played to evaluate: their returns and last rewards."""

    returns: list[float]
    last_rewards: list[float]


class Lockstep:
    """Acts and learns by turns.

    Args:
        job: agent, config, train ratio, seed; its spaces are the robots'.
        robots: by name, none connected yet, all of the same spaces; they take turns by episodes.
        directory: for the replay and `metrics.jsonl`; Conflict if it holds those of another run.
        act: by the agent's policy or by planning; None takes the agent's choice.
        rows_per_chunk: how many rows come at once; with 1 it learns before it acts again.
        watch: told of each chunk of rows, each update and each evaluated episode.
    """

    def __init__(
        self,
        job: Job,
        robots: Mapping[str, Robot],
        directory: Path,
        act: Act | None = None,
        rows_per_chunk: int = ROWS_PER_CHUNK,
        watch: Callable[[Standing], None] | None = None,
    ) -> None:
        if (directory / "replay").exists():
            raise Conflict(f"{directory} holds another run: choose an empty folder")
        torch.set_num_threads(job.threads)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else it refuses GPUs
        # On a GPU, some steps of image networks have no deterministic form: torch then warns.
        on_cpu = pick_device(job.device).type == "cpu"
        torch.use_deterministic_algorithms(True, warn_only=not on_cpu)
        self._job, self._robots, self._act = job, dict(robots), act or Act()
        self._rows_per_chunk, self._watch = rows_per_chunk, watch
        self._recent: float | None = None  # mean return of the last robot's last episodes
        self._agent = make_agent(job)
        self._store = ReplayStore(directory / "replay")
        self._view = make_view(self._store, self._agent, job.capacity)
        device = self._agent.device
        self._replay = make_replay(self._view, job, device)
        self._sampler = make_sampler(
            *(self._agent.demand, self._view, job.seed, self._replay, self._agent.task),
            teachers=make_teachers(self._agent.demand, directory, job),
        )
        self._write_backs = make_write_backs(self._keep, self._replay, device)
        self._limiter = make_limiter(self._agent.demand, job)
        self._log = open(directory / "metrics.jsonl", "w")  # noqa: SIM115 - closed by `close`
        self._metrics = MeanMetrics()
        self._recordings = {name: self._recording(name) for name in self._robots}
        self.updates = 0
        # By robot, for each of its episodes: rows so far, those of all robots, and its return.
        self.curves: dict[str, list[tuple[int, float]]] = {name: [] for name in self._robots}

    def train(self, steps: int, episodes: int | None = None) -> None:
        """Let the robots take `steps` steps in all, learning as they go, but none of them more
        than so many `episodes`."""
        names, seed = list(self._robots), self._job.seed
        if len(names) == 1:
            most = {} if episodes is None else {"max_episodes": episodes}
            self._collect(names[0], seed, max_steps=steps, **most)
            return
        turns = itertools.cycle(names) if episodes is None else names * episodes
        for turn, name in enumerate(turns):
            if steps <= 0:
                return
            done = self._collect(name, episode_seed(seed, turn), max_episodes=1, max_steps=steps)
            steps -= done.steps

    def evaluate(self, episodes: int) -> dict[str, Evaluated]:
        """Each robot's `episodes` episodes with the mode; nothing is learned."""
        found: dict[str, Evaluated] = {}
        for name in self._robots:
            returns: list[float] = []
            last = LastRewards()
            before = sum(len(one.returns) for one in found.values())

            def played(episode: Episode, to: list[float] = returns, done: int = before) -> None:
                to.append(episode.total_reward)
                self._tell(done + len(to))

            self._run(
                name,
                last,
                explore=False,
                seed=self._job.seed + 100_000,
                max_episodes=episodes,
                on_episode=played,
            )
            found[name] = Evaluated(returns, last.rewards)
        return found

    def acting(self) -> Acting:
        """What acts, as it has learned so far."""
        return self._agent.acting()

    def report(self) -> dict[str, NDArray[Any]]:
        """What the agent draws of a batch (`Agent.report`); nothing while there are too few rows.

        Films (T, H, W, C) uint8, or signals (T, K, 2) float32.
        """
        batch = None if self._sampler is None else self._sampler.sample()
        if batch is None:
            return {}
        tensors = {k: t.to(self._agent.device) for k, t in to_tensors(batch).items()}
        return {name: t.cpu().numpy() for name, t in self._agent.report(tensors).items()}

    def close(self) -> None:
        """Close files."""
        self._log.close()
        self._store.close()

    def _collect(self, name: str, seed: int | None, **limits: int) -> Summary:
        return self._run(
            name,
            self._recordings[name],
            explore=True,
            seed=seed,
            on_episode=lambda episode: self._on_episode(name, episode),
            **limits,
        )

    def _run(self, name: str, recorder: Recorder, **options: Any) -> Summary:
        robot = self._robots[name]
        acting = self.acting()
        manifest = live_manifest(acting, self._job.id, self._job.agent)
        graphs = TorchGraphs(acting, self._agent.device)
        act = replace(self._act, task=robot.task.name)
        policy = act.policy(manifest, graphs, robot.action_space)
        # Training takes its time between two steps: the watchdog must not take that for silence.
        runtime = Runtime(
            robot,
            recorder,
            OnePolicy(policy),
            FreeRunningClock(),
            silence_s=3600.0,
            **options,
        )
        return runtime.run()

    def _recording(self, name: str) -> Recording:
        def keep(chunk: Chunk) -> None:
            self._store.append(name, chunk)
            self._replay.refresh()
            self._tell()
            self._learn()

        return Recording(self._robots[name].task.name, keep, self._rows_per_chunk)

    def _learn(self) -> None:
        if self._sampler is None:
            return
        for _ in range(self._limiter.allowed(self._view.head)):
            batch = self._sampler.sample()
            if batch is None:
                return
            self._limiter.spend()
            tensors = {k: t.to(self._agent.device) for k, t in to_tensors(batch).items()}
            learned = self._agent.train(tensors)
            self._write_backs.put(batch[ROW_ID], written_back(learned))
            self._write_backs.flush()  # so that the next batch is drawn with it
            self._metrics.add(learned.metrics)
            self.updates += 1
            self._tell()

    def _keep(self, rows: NDArray[Any], found: Tensors) -> None:
        assert self._sampler is not None
        keep(self._replay, self._sampler, rows, found)

    def _tell(self, evaluated: int = 0) -> None:
        if self._watch is not None:
            self._watch(Standing(self._view.head, self.updates, self._recent, evaluated))

    def _on_episode(self, name: str, episode: Episode) -> None:
        self.curves[name].append((self._view.head, episode.total_reward))
        self._recent = float(np.mean([total for _, total in self.curves[name][-_RECENT:]]))
        record = {
            "rows": self._view.head,
            "updates": self.updates,
            "episode": episode.number,
            REWARD: episode.total_reward,
            "recent": self._recent,
            **self._whose(name),
            **self._metrics.take(),
        }
        self._log.write(json.dumps(record) + "\n")
        self._log.flush()

    def _whose(self, name: str) -> dict[str, str]:
        """What tells the episodes of several robots apart."""
        return (
            {"robot": name, "task": self._robots[name].task.name} if len(self._robots) > 1 else {}
        )


def run(
    agent: str,
    robot_name: str = "",
    *,
    robots: Sequence[str] = (),
    steps: int,
    episodes: int | None = None,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    directory: Path | None = None,
    eval_episodes: int = 10,
    act: Act | None = None,
    rows_per_chunk: int = ROWS_PER_CHUNK,
    watch: Callable[[Standing], None] | None = None,
    **job: Any,
) -> dict[str, Any]:
    """Train an agent on a robot, or several, and evaluate it. Returns a summary.

    That of several robots has an entry for each under `robots`, with its task.

    Args:
        agent: registered name.
        robot_name: as `robot_client.robots.make_robot` takes it.
        robots: instead of that, several, which take turns in the spaces common to all.
        steps: how many steps the robots take in all.
        episodes: each robot stops after so many, if not before.
        seed: of everything.
        config, options: of the agent, and of each robot beside those in its name.
        directory: for metrics and replay; None takes a temporary one.
        eval_episodes: played at the end without exploration.
        act: how to act; None takes the agent's choice.
        rows_per_chunk, watch: as `Lockstep` takes them.
        job: further fields of `server.job.Job`, such as train_ratio.
    """
    specs = list(robots) or [robot_name]
    fleet = _fleet(specs, options or {})
    robot = next(iter(fleet.values()))  # the spaces are those of all
    name, given = f"{agent}-{seed}", dict(config or {})
    full = Job(id=name, agent=agent, config=given, seed=seed, **_described(robot), **job)
    with tempfile.TemporaryDirectory() as scratch:
        folder, clock = directory or Path(scratch), SystemClock()
        folder.mkdir(parents=True, exist_ok=True)
        start = clock.monotonic()
        lockstep = Lockstep(full, fleet, folder, act, rows_per_chunk, watch)
        try:
            lockstep.train(steps, episodes)
            trained = clock.monotonic()
            evaluated = lockstep.evaluate(eval_episodes)
        finally:
            lockstep.close()
    results = _results(fleet, lockstep.curves, evaluated)
    whose = {"robot": specs[0], **results[ONLY]} if ONLY in results else {"robots": results}
    return {
        "job": full.model_dump(exclude={"observation_space", "action_space", "task"}),
        "steps": steps,
        "updates": lockstep.updates,
        "seconds": round(trained - start, 1),
        **whose,
    }


def _described(robot: Robot) -> dict[str, Any]:
    """What a job must know of its robots."""
    return {
        "observation_space": space_to_json(robot.observation_space),
        "action_space": space_to_json(robot.action_space),
        "task": robot.task.to_json(),
    }


def _results(
    fleet: Mapping[str, Robot],
    curves: Mapping[str, list[tuple[int, float]]],
    evaluated: Mapping[str, Evaluated],
) -> dict[str, dict[str, Any]]:
    """What each robot came to, by the name of its stream."""
    return {
        name: {
            "task": fleet[name].task.name,
            "curve": curves[name],
            "evaluation": found.returns,
            "evaluation_mean": float(np.mean(found.returns)) if found.returns else None,
            "last_rewards": found.last_rewards,
        }
        for name, found in evaluated.items()
    }


def _fleet(specs: Sequence[str], options: Mapping[str, Any]) -> dict[str, Robot]:
    """Robots by the names of their streams; several are fitted into common spaces."""
    robots = [make_robot(spec, **options) for spec in specs]
    if len(robots) == 1:
        return {ONLY: robots[0]}
    seen: Counter[str] = Counter()
    fleet: dict[str, Robot] = {}
    for spec, robot in zip(specs, fit(robots), strict=True):
        seen[spec] += 1
        fleet[spec if seen[spec] == 1 else f"{spec} ({seen[spec]})"] = robot
    return fleet


def preset(agent: str, name: str | None) -> dict[str, Any]:
    """The fields of an agent's preset; without a name, of `laptop` or else none.

    Raises:
        Invalid: there is no such preset.
    """
    presets = agent_class(agent).config_type.presets
    if name is not None and name not in presets:
        raise Invalid("preset", f"one of {sorted(presets)}", name)
    return dict(presets.get(name or "laptop", {}))
