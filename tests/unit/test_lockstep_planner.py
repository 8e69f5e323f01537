"""Lockstep plans with the same code as a robot, on the agent's live graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from agents.agent import Acting, Agent, Learned, Nothing
from agents.random import RandomConfig
from agents.registry import AGENTS
from robot_client.act import Act, CannotAct
from robot_client.schema import Chunk
from server.lockstep import run
from server.replay.store import ReplayStore
from tests.unit.planning_agent import acting

ROBOT = "tests.unit.test_robot_cli:Vector"
HERE = "tests.unit.test_lockstep_planner:Planned"


class Planned(Agent):
    """A random model that learns nothing."""

    config_type = RandomConfig
    demand = Nothing()

    def __init__(self, observation_space: Any, action_space: Any, config: Any, device: Any) -> None:
        self.device = device
        self._acting = acting(action_space, horizon=3, candidates=8, iterations=2, elites=2)

    def acting(self) -> Acting:
        return self._acting

    def train(self, batch: Any) -> Learned:
        return Learned({})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def _planned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(AGENTS, "planned", HERE)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("kind", "source"), [("actor", 0), ("planner", 1)])
def test_it_acts_as_it_is_told_twice_the_same(
    kind: Any, source: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks: list[Chunk] = []

    def append(store: ReplayStore, robot: str, chunk: Chunk) -> Any:
        chunks.append(chunk)
        return original(store, robot, chunk)

    original = ReplayStore.append
    monkeypatch.setattr(ReplayStore, "append", append)
    act = Act(kind, {"method": "icem"} if kind == "planner" else {})
    for _ in range(2):
        run("planned", ROBOT, steps=4, device="cpu", act=act, eval_episodes=1)
    first, again = (chunk.columns for chunk in chunks)
    assert set(first["source"][:4].tolist()) == {source}
    np.testing.assert_array_equal(first["action"], again["action"])
    assert len(np.unique(first["action"], axis=0)) > 3


def test_an_agent_that_cannot_plan_is_an_error_of_ours() -> None:
    with pytest.raises(CannotAct, match="random cannot act as planner"):
        run("random", ROBOT, steps=10, device="cpu", act=Act("planner"))
