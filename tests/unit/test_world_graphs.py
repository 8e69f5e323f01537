"""What a robot gets of a world model does there what it does in learning."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agents.agent import Tensors
from agents.world.agent import WorldAgent
from agents.world.rssm import Carry, features
from robot_client.schema import ACTION, IS_FIRST, REWARD
from tests.unit.worlds import ACTORS, BOX, DISCRETE, WORLDS, batch_of, make

ENDS = {"dreamer-v1": {"continue_scale": 10.0}, "dreamer-v2": {"continue_scale": 5.0}}
BOTH = pytest.mark.parametrize("action", [BOX, DISCRETE], ids=["box", "discrete"])


class Robot:
    """Takes one row after another, as the client does."""

    def __init__(self, agent: WorldAgent) -> None:
        acting = agent.acting()
        self.graph = acting.graphs["policy" if acting.kind == "actor" else "filter"]
        self.noise = {
            f"in_noise_{name}": torch.zeros(1, *spec.shape)
            for name, spec in acting.signature.noise.items()
        }
        self.carry = {
            f"in_carry_{name}": torch.zeros(1, *spec.shape)
            for name, spec in acting.signature.carry.items()
        }

    @torch.no_grad()
    def __call__(
        self, vector: torch.Tensor, prev_action: torch.Tensor, is_first: bool, **noise: torch.Tensor
    ) -> Tensors:
        inputs = {
            "in_vector": vector[None],
            "in_prev_action": prev_action[None],
            "in_is_first": torch.tensor([is_first]),
        }
        found = self.graph(inputs | self.noise | self.carry | noise)
        self.carry = {key: found[key.replace("in_", "out_", 1)] for key in self.carry}
        return found


@pytest.mark.parametrize("name", WORLDS)
@BOTH
def test_a_robot_filters_as_the_learner_does(name: str, action: Any) -> None:
    """TorchRL #4119: the present observation with the action before it, from the first row on."""
    agent = make(name, action)
    batch = batch_of(agent, action)
    batch[IS_FIRST][:, 0] = batch[IS_FIRST][:, 4] = True
    noise = agent.draw(*batch[REWARD].shape).posterior
    with torch.no_grad():
        states = agent.world.filter(batch, noise)
    robot = Robot(agent)
    before = batch["prev_action"][0]
    for t in range(6):
        first = bool(batch[IS_FIRST][0, t])
        robot(batch["vector"][0, t], before, first, in_noise_stoch=noise[0, t][None])
        before = batch[ACTION][0, t]
        torch.testing.assert_close(robot.carry["in_carry_deter"][0], states.deter[0, t])
        torch.testing.assert_close(robot.carry["in_carry_stoch"][0], states.stoch[0, t])


@pytest.mark.parametrize("name", ACTORS)
def test_the_action_answers_the_present_observation(name: str) -> None:
    agent = make(name)
    vector = torch.tensor([0.1, -0.4, 0.8])
    here, there = (Robot(agent)(x, torch.zeros(2), True)["out_action"] for x in (vector, -vector))
    assert not torch.equal(here, there)
    again = Robot(agent)(vector, torch.ones(2), True)["out_action"]
    assert torch.equal(here, again), "before the first row nothing was done"


@pytest.mark.parametrize("name", WORLDS)
def test_imagining_is_the_models_own(name: str) -> None:
    """What a plan multiplies the future by is what the critic's targets do."""
    agent = make(name, **ENDS.get(name, {}))
    for _ in range(3):
        agent.train(batch_of(agent))
    world, acting = agent.world, agent.acting()
    batch = batch_of(agent)
    noise = agent.draw(*batch[REWARD].shape).posterior
    with torch.no_grad():
        states = world.filter(batch, noise)
        before = Carry(states.deter[:, 0], states.stoch[:, 0])
        action = world.codec.encode(batch[ACTION][:, 0])
        following = world.rssm.imagine_step(before, action, noise[:, 1])
        feat = features(*following)
        inputs = {"in_carry_deter": before.deter, "in_carry_stoch": before.stoch}
        found = acting.graphs["imagine"](
            inputs | {"in_action": action, "in_noise_stoch": noise[:, 1]}
        )
        torch.testing.assert_close(found["out_carry_deter"], following.deter)
        torch.testing.assert_close(found["out_carry_stoch"], following.stoch)
        torch.testing.assert_close(found["out_reward"], world.reward(feat).pred())
        survival = found["out_continue"] * acting.planning.discount
        torch.testing.assert_close(survival, world.survival(feat))
        if agent.behaviour is not None:
            value = acting.graphs["value"](inputs)["out_value"]
            wanted = agent.behaviour.value(features(*before)).pred()
            torch.testing.assert_close(value, wanted)


def still(agent: WorldAgent) -> Tensors:
    """Windows that each show one of two things, unmoved."""
    batch = batch_of(agent)
    side = torch.tensor([0.8, -0.8]).repeat(agent.config.batch_size // 2)
    batch["vector"] = side[:, None, None].expand(batch["vector"].shape)
    batch[IS_FIRST][:, 0] = True
    return batch


@pytest.mark.parametrize("name", ["dreamer", "planet"])
def test_surprise_is_small_where_all_goes_as_expected_and_large_at_a_jump(name: str) -> None:
    rate = {} if name == "dreamer-v2" else {"learning_rate": 3e-3}
    agent = make(name, batch_size=8, free_nats=0.0, **rate)
    batch = still(agent)
    for _ in range(120):
        agent.train(batch)
    robot = Robot(agent)
    here = torch.full((3,), 0.8)
    nats = [robot(here, torch.zeros(2), t == 0)["out_extra_surprise"].item() for t in range(5)]
    jump = robot(-here, torch.zeros(2), False)["out_extra_surprise"].item()
    assert jump > 1.0
    assert jump > 5 * max(nats[2:]), nats
    assert min(nats) >= 0


def test_disagreement_is_about_the_step_that_led_here() -> None:
    agent = make("planet", ensemble=3)
    robot = Robot(agent)
    vector, action = torch.tensor([0.1, -0.4, 0.8]), torch.tensor([0.3, -0.6])
    first = robot(vector, action, True)
    assert first["out_extra_disagreement"].item() == 0.0
    before = Carry(robot.carry["in_carry_deter"], robot.carry["in_carry_stoch"])
    found = robot(-vector, action, False)["out_extra_disagreement"]
    with torch.no_grad():
        wanted = agent.world.ensemble.disagreement(features(*before), action[None])
    torch.testing.assert_close(found, wanted)
    assert found.item() > 0
