"""What the learner process and the lockstep runner share: an agent, its replay and one update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from agents.agent import (
    Agent,
    AgentConfig,
    Arrivals,
    Demand,
    GoalTransitions,
    Learned,
    Nothing,
    OnPolicy,
    Sequences,
    Taught,
    Tensors,
    Transitions,
    Trials,
)
from agents.registry import agent_class
from robot_client.schema import ActionSpace, Task, space_from_json
from server.device_columns import DeviceColumns
from server.errors import Invalid
from server.job import Job
from server.replay.arrivals import ArrivalSampler
from server.replay.goals import GoalSampler
from server.replay.limiter import TrainLimiter
from server.replay.sampler import Batch, OnPolicyQueue, SequenceSampler
from server.replay.store import ReplayStore
from server.replay.transitions import TransitionSampler
from server.replay.trials import TrialSampler
from server.replay.view import ReplayView
from server.staging import Store, ToHost, WriteBacks, mark
from server.teachers import FOLDER
from server.teaching import TaughtSampler, Teacher, load_teachers

Replay = ReplayView | DeviceColumns  # where the numbers of the rows are
ROW_ID = "row_id"
_PRIORITY = "priority"  # beside the context on its way to the host


class Sampler(Protocol):
    """Draws batches; its state restores exactly."""

    def sample(self) -> Batch | None:
        """The next batch, or None while there is not enough data."""
        ...

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        ...


def make_agent(job: Job) -> Agent:
    """Build the job's agent, seeded."""
    cls = agent_class(job.agent)
    config: AgentConfig = cls.config_type.model_validate(job.config)
    observation_space, action_space = job_spaces(job)
    torch.manual_seed(job.seed)
    agent = cls(observation_space, action_space, config, pick_device(job.device))
    agent.task = job_task(job)
    return agent


def job_spaces(job: Job) -> tuple[spaces.Dict, ActionSpace]:
    """The spaces of the job's robots."""
    observation = space_from_json(job.observation_space, "observation_space")
    action = space_from_json(job.action_space, "action_space")
    return cast(spaces.Dict, observation), cast(ActionSpace, action)


def job_task(job: Job) -> Task | None:
    """What the job's robots are to do, if that is known."""
    return Task.from_json(job.task) if job.task else None


def pick_device(name: str) -> torch.device:
    """The named device; `auto` is the first GPU, or the CPU.

    Raises Invalid when torch cannot use it here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts that it has it
        why = str(error).partition("\n")[0]
        raise Invalid("device", "one that torch can use here", f"{name} ({why})") from error
    return device


def make_sampler(
    demand: Demand,
    view: ReplayView,
    seed: int,
    replay: Replay | None = None,
    task: Task | None = None,
    teachers: Sequence[Teacher] = (),
) -> Sampler | None:
    """The sampler that yields what the agent demands; None when it demands nothing.

    Its batches are put together in `replay`, or else in the view. Raises Invalid when goals are
    demanded of a task that has none.
    """
    # Spawned: the seed itself is the acting policy's.
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    match demand:
        case Trials(batch, length, context, trials):
            windows = (view, batch, length, context, rng)
            return TrialSampler(*windows, numbers=replay, trials=trials)
        case Sequences(batch, length, context):
            return SequenceSampler(view, batch, length, context, rng, numbers=replay)
        case GoalTransitions(batch, n_step, discount, priority):
            return GoalSampler(
                *(view, batch, n_step, discount, rng, replay, priority),
                task=task,
                relabelled=demand.relabelled,
                strategy=demand.strategy,
            )
        case Arrivals(batch, n_step, discount):
            return ArrivalSampler(view, batch, n_step, discount, rng, replay)
        case Taught(batch, n_step, discount):
            parts = (view, batch, n_step, discount, rng, replay)
            return TaughtSampler(*parts, teachers=teachers, seed=seed)
        case Transitions(batch, n_step, discount, priority):
            return TransitionSampler(view, batch, n_step, discount, rng, replay, priority)
        case OnPolicy(batch, length, max_lag, overlap):
            return OnPolicyQueue(view, batch, length, max_lag, replay, overlap)
        case Nothing():
            return None


def make_teachers(demand: Demand, directory: Path, job: Job) -> list[Teacher]:
    """Those in the experiment's directory, of an agent that demands any; Invalid without one."""
    if not isinstance(demand, Taught):
        return []
    return load_teachers(directory / FOLDER, *job_spaces(job))


def rows_per_update(demand: Demand) -> int:
    """How many replayed rows one update takes."""
    match demand:
        case Sequences(batch, length):
            return batch * length
        case OnPolicy(batch, length, _, overlap):
            return batch * (length - overlap)
        case Transitions(batch):
            return batch
        case Nothing():
            return 1


def make_limiter(demand: Demand, job: Job) -> TrainLimiter:
    """The limiter that holds the learner to the job's train ratio."""
    return TrainLimiter(job.train_ratio, rows_per_update(demand), job.min_rows, job.max_debt)


def make_view(store: ReplayStore, agent: Agent, capacity: int) -> ReplayView:
    """The newest rows of a store, with the extras that the agent's policy records."""
    return ReplayView(store, capacity, agent.acting().signature.extras)


def make_replay(view: ReplayView, job: Job, device: torch.device) -> Replay:
    """The view itself, or its mirror on the device if the job says so."""
    if not job.replay_on_device:
        return view
    room = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    return DeviceColumns(view, device, room)


def written_back(learned: Learned) -> Tensors:
    """What an update says of its rows, to be kept with them."""
    priority = {} if learned.priority is None else {_PRIORITY: learned.priority}
    return {**learned.context, **priority}


def keep(replay: Replay, sampler: Sampler, rows: NDArray[Any], found: Tensors) -> None:
    """Store what `written_back` gave: priorities in the sampler, context in the replay."""
    context = {name: tensor for name, tensor in found.items() if name != _PRIORITY}
    if context:
        replay.write_back(rows, context)
    if _PRIORITY in found:
        assert isinstance(sampler, TransitionSampler), sampler
        sampler.prioritise(rows, found[_PRIORITY].cpu().numpy())


def make_write_backs(store: Store, replay: Replay, device: torch.device) -> WriteBacks:
    """What hands to `store` what updates have found, on the host or where the replay is."""
    if isinstance(replay, DeviceColumns):
        return WriteBacks(store, lambda context: (context, mark(device)))
    return WriteBacks(store, ToHost(device))


def to_tensors(batch: Batch) -> Tensors:
    """A batch without its row ids; arrays share their memory."""
    return {
        name: value if isinstance(value, torch.Tensor) else torch.from_numpy(value)
        for name, value in batch.items()
        if name != ROW_ID
    }


@dataclass
class MeanMetrics:
    """Sums metrics on the device, and brings their means to the host once in a while."""

    _sums: Tensors = field(default_factory=dict)
    _count: int = 0

    def add(self, metrics: Tensors) -> None:
        """Add one update's scalars. Does not wait for the device."""
        values = [value.detach().float() for value in metrics.values()]
        for name, value in zip(metrics, values, strict=True):
            if name not in self._sums:
                self._sums[name] = torch.zeros_like(value)
        if values:  # all at once: on a GPU, each would be a launch
            torch._foreach_add_([self._sums[name] for name in metrics], values)
        self._count += 1

    def take(self) -> dict[str, float]:
        """Means since the last call. Waits for the device."""
        if not self._sums:
            return {}
        stacked = torch.stack(list(self._sums.values())) / self._count
        means = dict(zip(self._sums, stacked.tolist(), strict=True))
        self._sums, self._count = {}, 0
        return means
