"""An agent that learns from transitions goes on after a restart as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium import spaces

from agents.agent import Agent
from robot_client.rewards import Distance, Goals
from robot_client.schema import Json, Task, space_to_json
from server.checkpoint import Checkpoints
from server.job import Job
from server.replay.store import ReplayStore
from server.replay.transitions import TransitionSampler
from server.replay.view import ReplayView
from server.training import keep, make_agent, make_sampler, make_view, to_tensors, written_back
from tests.unit.replay_rows import Recorder

SEEN = spaces.Dict({name: spaces.Box(-1e6, 1e6, (1,)) for name in ("step", "wanted")})
NAMES: dict[str, Json] = {"achieved": "step", "desired": "wanted"}
TASK = Task("x", reward=Distance("step", "wanted"), goals=Goals("step", "wanted"))
SMALL = {"batch_size": 8, "actor_widths": (8,), "critic_widths": (8,)}
MODEL: Json = {"batch_size": 8, "widths": (8,), "members": 2}
DISCRETE = ("dqn", "dyna", "dyna-q")
CONFIGS: dict[str, Json] = {
    "dqn": {"batch_size": 8, "widths": (8,), "noisy": True, "atoms": 11, "priority": 0.5},
    "dyna": {**MODEL, "warmup": 2, "updates": 2, "capacity": 20, "dqn": {"widths": (8,)}},
    "dyna-q": {"keys": "step", "limit": 1.0, "steps": 3, "bonus": 0.1},
    "mpc": MODEL,
    "ddpg": {**SMALL, "priority": 0.6},
    "d4pg": {**SMALL, "priority": 0.0},
    "sac": {"batch_size": 8, "widths": (8,), "priority": 0.6, "n_step": 3},
    "mve": {**SMALL, "model_widths": (8,), "members": 2, "warm_up": 3},
    "naf": {"batch_size": 8, "widths": (8,), "steps": 9, "refit_every": 3, "ilqg": 0.5},
    "her": {"batch_size": 8, "widths": (8,), "priority": 0.6, **NAMES},
    "tdm": {"batch_size": 8, "widths": (8,), "priority": 0.6, **NAMES},
}


class Run:
    """An agent with its replay, as the learner has them."""

    def __init__(self, store: ReplayStore, job: Job) -> None:
        self.agent: Agent = make_agent(job)
        self.view: ReplayView = make_view(store, self.agent, 1000)
        self.view.refresh()
        found = make_sampler(self.agent.demand, self.view, job.seed, task=self.agent.task)
        assert isinstance(found, TransitionSampler)
        self.sampler = found

    def update(self) -> dict[str, Any]:
        batch = self.sampler.sample()
        assert batch is not None
        learned = self.agent.train(to_tensors(batch))
        keep(self.view, self.sampler, batch["row_id"], written_back(learned))
        return {k: v.item() for k, v in learned.metrics.items()}


def job(name: str) -> Job:
    action = spaces.Discrete(3) if name in DISCRETE else spaces.Box(-1, 1, (1,))
    described = {"observation_space": space_to_json(SEEN), "action_space": space_to_json(action)}
    described["task"] = TASK.to_json()
    return Job(id="e", agent=name, config=CONFIGS[name], device="cpu", **described)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_restarted_learner_comes_to_equal_losses(tmp_path: Path, name: str) -> None:
    store = ReplayStore(tmp_path / "replay")
    chunks = Recorder().chunks(60)
    for _, chunk in chunks:
        for key in ("action", "action_requested"):
            chunk.columns[key] = chunk.columns[key] % 3 / 3
            if name in DISCRETE:
                chunk.columns[key] = (chunk.columns[key][:, 0] * 3).astype("int64")
        chunk.columns["step"] /= 60
        chunk.columns["wanted"] = chunk.columns["step"] % 0.3
    store.commit(chunks)
    one = Run(store, job(name))
    for _ in range(5):
        one.update()
    saved = Checkpoints(tmp_path / "checkpoints")
    saved.save(5, one.agent.state_dict(), {"sampler": one.sampler.state()})
    torch.manual_seed(7)
    two = Run(store, job(name))
    tensors, state = saved.load(5)
    two.agent.load_state_dict(tensors)
    two.sampler.restore(state["sampler"])
    for _ in range(5):
        assert one.update() == two.update()
    store.close()
