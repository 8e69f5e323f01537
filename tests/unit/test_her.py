"""HER: who learns under it, what its targets may be, and that goals are told from the rest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.agent import GoalTransitions
from agents.blocks.goals import UNBOUNDED, payable
from agents.ddpg import DDPG
from agents.dqn import DQN
from agents.errors import UnsupportedSpace
from agents.her import HER, HERConfig
from agents.sac import SAC
from robot_client.rewards import Distance, Expression, Goals, Within
from robot_client.schema import Task

SEEN = spaces.Dict(
    {k: spaces.Box(-9, 9, (1,), np.float32) for k in ("achieved_goal", "desired_goal")}
)
CHOICES, ARM = spaces.Discrete(2), spaces.Box(-1, 1, (1,), np.float32)
BETWEEN = ("achieved_goal", "desired_goal")
SPARSE = Task("touch", reward=Within(*BETWEEN, within=0.5), goals=Goals(within=0.5))


def her(action: Any = CHOICES, task: Task | None = SPARSE, **config: Any) -> HER:
    torch.manual_seed(0)
    full = HERConfig.model_validate({"widths": (), "batch_size": 2, "discount": 0.9, **config})
    agent = HER(SEEN, action, full, torch.device("cpu"))
    agent.task = task
    return agent


def batch(action: Any, returns: list[float], discount: list[float]) -> dict[str, torch.Tensor]:
    rows = {
        key: torch.full((2, 1), value) for key, value in zip(SEEN.spaces, (1.0, 2.0), strict=True)
    }
    after = {f"next/{key}": value + 1 for key, value in rows.items()}
    chosen = torch.tensor([0, 1]) if action is CHOICES else torch.tensor([[0.5], [-0.5]])
    numbers = {"return": torch.tensor(returns), "discount": torch.tensor(discount)}
    return {**rows, **after, **numbers, "action": chosen}


@torch.no_grad()
def write_values(agent: HER, values: list[float]) -> None:
    """What the slow network says of both choices, whatever it sees."""
    assert isinstance(agent.learner, DQN)
    layer: Any = agent.learner.slow.net.advantage.layers[0]
    layer.layer.weight.zero_()
    layer.layer.bias.copy_(torch.tensor(values))


def wanted(agent: HER, rows: dict[str, torch.Tensor]) -> list[float]:
    agent.train(rows)  # which tells the learner what the task can pay
    assert not isinstance(agent.learner, SAC)
    target = agent.learner.target(rows)
    return (target.reward + target.discount * target.following[:, 0]).tolist()


@pytest.mark.parametrize(
    ("action", "over", "kind"), [(CHOICES, "ddpg", DQN), (ARM, "ddpg", DDPG), (ARM, "sac", SAC)]
)
def test_the_learner_goes_with_the_actions(action: Any, over: str, kind: type) -> None:
    agent = her(action, over=over, strategy="final", relabelled=0.5, n_step=2, priority=0.3)
    assert isinstance(agent.learner, kind)
    assert agent.demand == GoalTransitions(2, 2, 0.9, 0.3, 0.5, "final")
    metrics = agent.train(batch(action, [0.0, -1.0], [0.9, 0.0])).metrics
    assert all(torch.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("clip", [True, False])
def test_targets_stay_within_what_the_task_can_pay(clip: bool) -> None:
    agent = her(clip_targets=clip, target_rate=1e-9, learning_rate=1e-9)
    write_values(agent, [-30.0, -20.0])
    rows = batch(CHOICES, [-1.0, -1.0], [0.9, 0.0])
    # -1 + 0.9 * -20 is less than -1 / (1 - 0.9); the second row is an end.
    assert wanted(agent, rows) == pytest.approx([-10.0 if clip else -19.0, -1.0])
    write_values(agent, [5.0, 3.0])
    assert wanted(agent, rows) == pytest.approx([0.0 if clip else 3.5, -1.0])
    write_values(agent, [-5.0, -4.0])
    assert wanted(agent, rows) == pytest.approx([-4.6, -1.0])


def test_what_a_task_can_pay_is_known_of_those_that_say_it() -> None:
    assert payable(SPARSE, 0.98) == pytest.approx((-50.0, 0.0))
    pays = Task("hit", reward=Within(*BETWEEN, within=0.5, hit=2.0, miss=0.5))
    assert payable(pays, 0.5) == (0.0, 4.0)  # nothing, where the episode ends
    assert payable(Task("near", reward=Distance(*BETWEEN)), 0.9) == (-math.inf, 0.0)
    for task in (None, Task("own"), Task("sum", reward=Expression("achieved_goal[0]"))):
        assert payable(task, 0.9) == UNBOUNDED


def test_the_learner_sees_the_goal() -> None:
    agent = her()
    assert isinstance(agent.learner, DQN)
    layer: Any = agent.learner.net.advantage.layers[0]
    with torch.no_grad():  # of what was achieved, and of what is wanted
        layer.layer.weight.copy_(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
    policy = agent.acting().graphs["policy"]
    agent.learner.explorer.share.zero_()
    for goal, choice in ((3.0, 0), (-3.0, 1)):
        inputs = {"in_achieved_goal": torch.zeros(1, 1), "in_desired_goal": torch.tensor([[goal]])}
        inputs |= {"in_noise_explore": torch.zeros(1, 2)}
        assert policy(inputs)["out_action"].tolist() == [choice]


@pytest.mark.parametrize(
    ("seen", "config", "message"),
    [
        (spaces.Dict(achieved_goal=SEEN["achieved_goal"]), {}, "expected achieved_goal and"),
        (spaces.Dict({**SEEN.spaces, "desired_goal": spaces.Discrete(3)}), {}, "vectors of one"),
        (SEEN, {"keys": "achieved.*"}, "expected a pattern that matches desired_goal"),
    ],
)
def test_spaces_without_goals_are_refused(seen: Any, config: Any, message: str) -> None:
    with pytest.raises(UnsupportedSpace, match=message):
        HER(seen, CHOICES, HERConfig.model_validate(config), torch.device("cpu"))


def test_a_task_that_calls_its_goals_otherwise_is_refused() -> None:
    agent = her(task=Task("x", reward=Distance(*BETWEEN), goals=Goals("there", "desired_goal")))
    with pytest.raises(UnsupportedSpace, match="as in the task"):
        agent.acting()
