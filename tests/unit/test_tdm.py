"""Temporal difference models: their recursion by hand, their time, and their forms of control."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from pydantic import ValidationError
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.export import ActingExport
from agents.tdm import TDM, Extent, TDMConfig, target_of
from agents.testing import check_agent
from robot_client.rewards import Expression, Goals
from robot_client.schema import Task
from tests.contracts.test_agents import acts_as_torch, perturb
from tests.oracle_cases import cases, close, load, tensors

SEEN = spaces.Dict(
    {k: spaces.Box(-9, 9, (2,), np.float32) for k in ("achieved_goal", "desired_goal")}
)
ARM = spaces.Box(-2, 2, (2,), np.float32)
CPU = torch.device("cpu")
BATCH = {
    "achieved_goal": torch.tensor([[0.0, 1.0], [2.0, 3.0]]),
    "desired_goal": torch.tensor([[1.0, -1.0], [0.5, 4.0]]),
    "next/achieved_goal": torch.tensor([[0.5, 0.5], [2.5, 2.0]]),
    "action": torch.tensor([[2.0, -1.0], [0.0, 1.0]]),
    "return": torch.tensor([7.0, 8.0]),
    "discount": torch.tensor([0.0, 0.0]),  # the task's reward and end do not count
}
BATCH["next/desired_goal"] = BATCH["desired_goal"]


def tdm(task: Task | None = None, **config: Any) -> TDM:
    torch.manual_seed(0)
    full = {"widths": (8,), "batch_size": 2, "scale": 1.0, "horizon": 3, **config}
    agent = TDM(SEEN, ARM, TDMConfig.model_validate(full), CPU)
    agent.task = task
    return agent


@torch.no_grad()
def write(agent: TDM, slope: float) -> TDM:
    """A world where an action, in -1..1, moves by itself, and the actor goes by slope * tau."""
    for critic in (agent.critic, agent.slow_critic.net):
        (weight,), (bias,) = critic.members.weights, critic.members.biases
        weight.zero_()
        bias.zero_()
        weight[0, [0, 1], [0, 1]] = 1.0  # where it is
        weight[0, [5, 6], [0, 1]] = 1.0  # what it does; 2 and 3 are the goal, 4 is the time
    for actor in (agent.actor, agent.slow_actor.net):
        actor.mean.weight.zero_()
        actor.mean.bias.zero_()
        actor.mean.weight[:, 4] = slope * agent.critic.horizon
    return agent


@pytest.mark.parametrize("case", cases("8_other_algorithms", "tdm_target"))
def test_targets_losses_and_gradients_are_the_golden_ones(case: str) -> None:
    inputs, outputs, _ = load("8_other_algorithms", case)
    x = tensors(inputs)
    f = x["prediction_f"].requires_grad_()
    target = target_of(x["achieved_next"], x["goal"], x["tau"], x["target_net_q"])
    q = -(x["goal"] - f).abs()
    close(target, outputs["target"])
    close(q, outputs["q"])
    losses = F.huber_loss(q, target, reduction="none")
    close(losses, outputs["huber"])
    losses.mean().backward()
    close(f.grad, outputs["grad_prediction_f"])
    close(q @ x["weights"], outputs["actor_objective"])


def test_a_target_is_the_distance_at_the_end_and_the_next_values_before() -> None:
    agent = write(tdm(widths=(), scale=10.0), 0.5)
    goal, tau = BATCH["desired_goal"], torch.tensor([0, 3])
    with torch.no_grad():  # the network's place is in scaled units
        agent.slow_critic.net.members.weights[0].mul_(10.0)
    found = agent.target(BATCH, goal, tau)
    moved = math.tanh(0.5 * 2)  # two steps are left after the next
    last = [-10 * abs(0.5 - 1), -10 * abs(0.5 + 1)]
    before = [-10 * abs(0.5 - (2.5 + moved)), -10 * abs(4 - (2 + moved))]
    np.testing.assert_allclose(found.numpy(), [last, before], rtol=1e-5)


def test_what_the_networks_say_where_no_time_is_left_does_not_matter() -> None:
    agent = tdm()
    none = torch.zeros(2, dtype=torch.int64)
    one = agent.target(BATCH, BATCH["desired_goal"], none)
    with torch.no_grad():
        for p in agent.slow_critic.net.parameters():
            p.add_(1)
    assert torch.equal(one, agent.target(BATCH, BATCH["desired_goal"], none))
    assert torch.equal(one, -(BATCH["next/achieved_goal"] - BATCH["desired_goal"]).abs())


def test_the_critic_is_none_of_rewards_ends_and_discounts() -> None:
    one, two = tdm(), tdm()
    other = {**BATCH, "return": BATCH["return"] * 9, "discount": torch.ones(2)}
    for _ in range(3):
        assert one.train(BATCH).metrics == two.train(other).metrics


def test_the_losses_are_the_papers() -> None:
    # With a horizon of 0 the time is always 0, and all can be told by hand.
    agent = write(tdm(widths=(), horizon=0, weights=(1.0, 3.0), saturation=0.0), 0.0)
    with torch.no_grad():
        agent.actor.mean.bias.fill_(0.5)
    metrics = agent.train(BATCH).metrics
    action = BATCH["action"] / 2
    q = -(BATCH["desired_goal"] - BATCH["achieved_goal"] - action).abs()
    wanted = -(BATCH["next/achieved_goal"] - BATCH["desired_goal"]).abs()
    assert float(metrics["loss/critic"]) == pytest.approx(float(F.huber_loss(q, wanted)), rel=1e-5)
    agent = write(tdm(widths=(), horizon=0, weights=(1.0, 3.0), saturation=0.1), 0.0)
    with torch.no_grad():
        agent.actor.mean.bias.fill_(0.5)
    situation = agent.critic.situation(
        BATCH["achieved_goal"], BATCH["desired_goal"], torch.zeros(2)
    )
    there = BATCH["achieved_goal"] + math.tanh(0.5)
    apart = (BATCH["desired_goal"] - there).abs() @ torch.tensor([1.0, 3.0])
    expected = float(apart.mean()) + 0.1 * 0.25
    loss = agent.actor_loss(situation, BATCH["desired_goal"])
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(None, [3, 2, 1, 0, 3, 2, 1, 0, 3]), (6, [3, 2, 1, 0, 1, 0, 0, 0, 0])],
)
def test_time_runs_out_begins_anew_and_ends_with_the_episode(
    limit: int | None, expected: list[int]
) -> None:
    agent = tdm(Task("x", episode_steps=limit))
    policy = agent.acting().graphs["policy"]
    assert policy.left(torch.arange(9)).tolist() == expected
    inputs: dict[str, Any] = {f"in_{k}": torch.zeros(1, 2) for k in SEEN.spaces}
    inputs |= {"in_noise_explore": torch.zeros(1, 3), "in_noise_action": torch.zeros(1, 2)}
    inputs |= {"in_carry_drift": torch.zeros(1, 2), "in_carry_steps": torch.tensor([5])}
    for first, after in ((True, 1), (False, 6)):
        found = policy({**inputs, "in_is_first": torch.tensor([first])})
        assert found["out_carry_steps"].tolist() == [after]


def ask(agent: TDM, here: list[float], goal: list[float], shares: torch.Tensor) -> torch.Tensor:
    """What is done of the candidates; the time is 0 after three steps."""
    policy = agent.acting().graphs["policy"]
    inputs = {"in_achieved_goal": torch.tensor([here]), "in_desired_goal": torch.tensor([goal])}
    inputs |= {"in_noise_explore": torch.zeros(1, 3), "in_noise_action": torch.zeros(1, 2)}
    inputs |= {"in_carry_drift": torch.zeros(1, 2), "in_carry_steps": torch.tensor([3])}
    inputs |= {"in_is_first": torch.tensor([False]), "in_noise_candidates": shares[None]}
    agent.explorer.share.zero_()
    return policy(inputs)["out_action"][0]


def test_the_best_of_many_actions_is_taken() -> None:
    agent = write(tdm(widths=(), act="actions", candidates=4, weights=(1.0, 0.1)), 0.0)
    shares = torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.75, 1.0], [0.0, 0.75]])
    # Half a step to the right is wanted: -1..1 is 2 shares less 1. The second number counts little.
    assert ask(agent, [0.0, 0.0], [0.5, 0.0], shares).tolist() == pytest.approx([1.0, 2.0])
    agent = write(tdm(widths=(), act="actions", candidates=4, weights=(0.1, 1.0)), 0.0)
    assert ask(agent, [0.0, 0.0], [0.5, 0.0], shares).tolist() == pytest.approx([0.0, 0.0])


@torch.no_grad()
def goes_to_goals(agent: TDM) -> None:
    """The actor's raw action is the goal itself."""
    agent.actor.mean.weight[[0, 1], [2, 3]] = 1.0


def test_of_many_goals_that_is_sought_which_pays_and_can_be_reached() -> None:
    pays = Task("right", reward=Expression("achieved_goal[0]"), goals=Goals())
    shares = torch.tensor([[0.0, 0.0], [0.55, 0.5], [1.0, 1.0]])
    chosen = []
    for caution in (10.0, 0.0):
        agent = tdm(pays, widths=(), act="goals", candidates=3, caution=caution)
        goes_to_goals(write(agent, 0.0))
        agent.extent.update(torch.tensor([[-2.0, -2.0], [2.0, 2.0]]))
        chosen.append(ask(agent, [0.0, 0.0], [-1.0, 0.0], shares))
    # With care, 0.2 to the right, which an action can do at once; without, as far as ever.
    assert chosen[0].tolist() == pytest.approx([2 * math.tanh(0.2), 0.0], abs=1e-5)
    assert chosen[1].tolist() == pytest.approx([2 * math.tanh(2.0), 2 * math.tanh(2.0)])


def test_the_extent_is_all_that_was_achieved() -> None:
    extent = Extent(2)
    corners = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert extent.place(corners).abs().tolist() == [[1.0, 1.0], [1.0, 1.0]]
    extent.update(torch.tensor([[5.0, 2.0], [6.0, 3.0]]))
    assert extent.place(corners).tolist() == [[5.0, 2.0], [6.0, 3.0]]
    extent.update(torch.tensor([[5.5, -1.0]]))
    assert extent.place(corners).tolist() == [[5.0, -1.0], [6.0, 3.0]]


@pytest.mark.parametrize("form", ["actions", "goals"])
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_every_form_of_control_keeps_the_contract(form: str) -> None:
    config = {"act": form, "candidates": 16}
    check_agent(lambda: tdm(**config), SEEN, ARM)
    acting = tdm(**config).acting()
    export = ActingExport(acting, SEEN, ARM)
    perturb(acting)
    acts_as_torch(acting, export, SEEN, ARM)


@pytest.mark.parametrize("wrong", [{"n_step": 3}, {"discount": 0.9}])
def test_several_steps_and_discounts_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        TDMConfig.model_validate(wrong)


def test_weights_go_with_the_goal() -> None:
    with pytest.raises(ValueError, match="weights: expected 2, one for each number, got 1"):
        tdm(weights=(1.0,))
