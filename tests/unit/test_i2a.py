"""I2A's parts by hand: whose dream is whose, the order of reading, distillation, the model, and the
phases of an agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.agent import Tensors
from agents.blocks.grids import EnvironmentModel, Experience, frames_of
from agents.blocks.rollouts import RolloutEncoder, RolloutPolicy, Rollouts, imagine
from agents.blocks.sokoban import SokobanRules
from agents.errors import UnsupportedSpace
from agents.i2a import I2A, I2AConfig, distillation, model_losses
from agents.testing import check_resuming, random_batch
from server.lockstep import run

CPU = torch.device("cpu")
SHAPE = (2, 3, 4)  # planes, height, width
SEEN = spaces.Dict(obs=spaces.Box(0, 1, (3, 4, 2), np.float32))
MOVES = spaces.Discrete(3)
SMALL = {"channels": 4, "width": 8, "cells": 4, "model_channels": 4, "batch_size": 2, "n_step": 3}
SOKOBAN = 'gym:dreamfleet/Sokoban-v0 {"observe": "planes", "noop": false, "max_episode_steps": 20}'


def build(**config: Any) -> I2A:
    torch.manual_seed(0)
    return I2A(SEEN, MOVES, I2AConfig.model_validate({**SMALL, **config}), CPU)


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).round()


def noise(rows: int, depth: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    uniform = torch.rand(rows, 3, depth, 3, generator=generator)
    return -(-uniform.clamp(1e-6).log()).log()


def perturbed(module: torch.nn.Module) -> Any:
    torch.manual_seed(2)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn(p.shape))
    return module.requires_grad_(False)


@pytest.fixture
def parts() -> tuple[EnvironmentModel, RolloutPolicy]:
    model, policy = EnvironmentModel(SHAPE, 2, 3, 4), RolloutPolicy(SHAPE, 2, 3, 4, 8)
    return perturbed(model), perturbed(policy)


def test_frames_are_the_last_ones_of_the_episode() -> None:
    planes = torch.arange(6.0).reshape(1, 6, 1, 1, 1)
    first = torch.tensor([[True, False, False, True, False, False]])
    found = frames_of(planes, first, 3)[0, :, :, 0, 0, 0].tolist()
    assert found == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [3, 3, 3], [3, 3, 4], [3, 4, 5]]


def test_each_action_is_imagined_first_then_the_rollout_policy_goes_on(parts) -> None:
    model, policy = parts
    frames, drawn = some(1, 2, *SHAPE), noise(1)
    found = imagine(model, policy, frames, drawn, binary=True)
    for first in range(3):
        x, action = frames, first
        for t in range(3):
            outcome = model(x, torch.nn.functional.one_hot(torch.tensor([action]), 3).float())
            frame = (outcome.logits > 0).float()
            torch.testing.assert_close(found.frames[0, first, t], frame[0])
            torch.testing.assert_close(found.rewards[0, first, t], outcome.reward[0])
            x = torch.stack([x[:, 1], frame], 1)
            action = int((torch.log_softmax(policy(x), -1) + drawn[:, first, t]).argmax())


def test_every_row_dreams_of_itself(parts) -> None:
    """Rows in another order dream the same in that order, and not of each other."""
    frames, drawn, order = some(4, 2, *SHAPE), noise(4), torch.tensor([2, 0, 3, 1])
    one = imagine(*parts, frames, drawn, binary=True)
    two = imagine(*parts, frames[order], drawn[order], binary=True)
    encoder = perturbed(RolloutEncoder(SHAPE, 4, 8, 4))
    torch.testing.assert_close(two.frames, one.frames[order])
    torch.testing.assert_close(encoder(two), encoder(one)[order])
    assert not torch.allclose(encoder(one)[0], encoder(one)[1])


def test_nothing_changes_in_a_copy(parts) -> None:
    frames = some(2, 2, *SHAPE)
    found = imagine(None, parts[1], frames, noise(2), binary=True)
    expected = frames[:, None, None, -1].expand(2, 3, 3, *SHAPE)
    torch.testing.assert_close(found.frames, expected)
    assert not found.rewards.any()


def test_a_rollout_is_read_from_its_end_to_its_beginning() -> None:
    encoder = perturbed(RolloutEncoder(SHAPE, 4, 8, 4))
    frames, rewards = some(1, 1, 3, *SHAPE), some(1, 1, 3, seed=5)
    plane = rewards[0, 0, :, None, None, None].expand(3, 1, 3, 4)
    seen = encoder.eye(torch.cat([frames[0, 0], plane], 1))
    state = torch.zeros(1, 8)
    for t in (2, 1, 0):
        state = encoder.memory(seen[t : t + 1], state)
    found = encoder(Rollouts(frames, rewards))
    torch.testing.assert_close(found, state[:, :4])
    backwards = Rollouts(frames.flip(2), rewards.flip(2))
    assert not torch.allclose(encoder(backwards), found)


def test_distillation_is_cross_entropy_and_draws_the_student_to_the_teacher() -> None:
    teacher = torch.tensor([[1.0, 0.0, -1.0]], requires_grad=True)
    student = torch.zeros(1, 3, requires_grad=True)
    loss = distillation(teacher, student)
    assert loss.item() == pytest.approx(np.log(3))
    loss.backward()
    assert teacher.grad is None
    # The gradient of a cross-entropy in its logits: student less teacher.
    torch.testing.assert_close(student.grad, 1 / 3 - torch.softmax(teacher.detach(), -1))


def test_the_models_loss_is_the_cross_entropy_of_cells_and_the_square_of_the_reward() -> None:
    model = EnvironmentModel(SHAPE, 1, 3, 4)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    now, then = torch.ones(2, *SHAPE), torch.ones(2, *SHAPE)
    then[1, 0, 0, 0] = 0.0
    rows = torch.stack([now, then], 1)
    losses = model_losses(model, rows, torch.tensor([0, 1]), torch.tensor([2.0, 0.0]), 0.5)
    # A model without weights says that what is there stays, with a logit of 4.
    right, wrong = np.log1p(np.exp(-4.0)), np.log1p(np.exp(4.0))
    assert losses["loss/model"].item() == pytest.approx((47 * right + wrong) / 2 + 0.5 * 2)
    assert losses["loss/model_reward"].item() == pytest.approx(2.0)
    assert losses["model/exact"].item() == 0.5


def test_a_model_learns_that_things_move() -> None:
    torch.manual_seed(0)
    model = EnvironmentModel((1, 3, 4), 1, 2, 16)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    here = torch.eye(9).reshape(9, 1, 3, 3)
    before, after = torch.nn.functional.pad(here, (0, 1)), torch.nn.functional.pad(here, (1, 0))
    rows = torch.cat([torch.stack([before, then], 1) for then in (before, after)])  # stay, right
    action = torch.arange(2).repeat_interleave(9)
    for _ in range(150):
        losses = model_losses(model, rows, action, action.float(), 1.0)
        optimizer.zero_grad()
        losses["loss/model"].backward()
        optimizer.step()
    assert losses["model/exact"] == 1
    assert losses["loss/model_reward"] < 0.05


def test_rows_are_kept_as_they_were_and_the_oldest_make_room() -> None:
    kept = Experience(4, SHAPE, 1)
    frames = some(6, 2, *SHAPE)
    kept.write(frames[:3], torch.arange(3), torch.arange(3.0))
    kept.write(frames[3:], torch.arange(3, 6), torch.arange(3.0, 6.0))
    found, action, reward = kept.draw(50, torch.Generator().manual_seed(0))
    assert set(action.tolist()) == {2, 3, 4, 5}
    torch.testing.assert_close(found, frames[action])
    assert reward.tolist() == action.tolist()


def batch_of(agent: I2A, seed: int) -> Tensors:
    found = random_batch(agent, SEEN, MOVES, torch.Generator().manual_seed(seed))
    return found | {"obs": found["obs"].abs().round()}


@pytest.mark.parametrize("collect", ["random", "policy"])
def test_it_collects_then_imagines(collect: str) -> None:
    agent = build(model_rows=12, fits=2, refits=1, collect=collect)
    policy = agent.acting().graphs["policy"]
    before = agent.net.actor.weight.clone()
    assert policy.state_dict()["net.trusted"] == 0
    assert policy.state_dict()["net.awake"] == float(collect == "policy")
    first = agent.train(batch_of(agent, 0)).metrics
    assert torch.equal(agent.net.actor.weight, before) == (collect == "random")
    assert ("loss/policy" in first) == (collect == "policy")
    assert first["model/used"] == 0
    metrics = agent.train(batch_of(agent, 1)).metrics  # 12 rows by now
    assert {"loss/policy", "loss/distillation", "loss/model"} <= metrics.keys()
    assert policy.state_dict()["net.trusted"] == policy.state_dict()["net.awake"] == 1
    assert agent._fitted == 4
    agent.train(batch_of(agent, 2))
    assert agent._fitted == 5


def test_a_poor_model_is_one_that_was_fitted_a_few_times() -> None:
    agent = build(model_rows=6, fits=3, most_fits=4)
    for seed in range(4):
        agent.train(batch_of(agent, seed))
    assert agent._fitted == 4


def test_it_goes_on_from_the_middle_of_a_phase() -> None:
    agent = build(model_rows=12)
    agent.train(batch_of(agent, 0))
    check_resuming(agent, build(model_rows=12), batch_of(agent, 1))


def test_gradients_reach_the_encoder_and_neither_model_nor_rollout_policy() -> None:
    agent = build(model_rows=1, refits=0, fits=0)
    agent.train(batch_of(agent, 0))
    seen = agent.opinion(batch_of(agent, 1))
    agent.net.zero_grad()
    (seen.raw.square().sum() + seen.value.sum()).backward()
    assert agent.net.encoder.memory.gates.weight.grad is not None
    assert agent.net.encoder.memory.gates.weight.grad.any()
    agent.imagination.zero_grad()
    agent.opinion(batch_of(agent, 1)).losses["distillation"].backward()
    model, policy = agent.imagination.model, agent.imagination.policy
    assert model is not None
    assert policy is not None
    assert all(p.grad is None for p in model.parameters())
    assert all(p.grad is not None for p in policy.parameters())


def test_what_was_acted_is_found_again() -> None:
    """The policy's own output, from rows and the noise that went with them: frames, dreams."""
    agent = build(frames=3, depth=2)
    policy = agent.acting().graphs["policy"]
    perturbed(policy)
    agent.net.trusted.fill_(1.0)
    agent.net.awake.fill_(1.0)
    carry, columns = torch.zeros(1, 3, *SHAPE), []
    for t in range(6):
        inputs = {
            "in_obs": some(1, 3, 4, 2, seed=t),
            "in_is_first": torch.tensor([t == 0]),
            "in_prev_action": torch.zeros(1).long(),
            "in_carry_frames": carry,
            "in_noise_action": torch.zeros(1, 3),
            "in_noise_dreams": noise(6, 2)[t : t + 1],
        }
        outputs = policy(inputs)
        carry = outputs["out_carry_frames"]
        columns.append({"obs": inputs["in_obs"], "is_first": inputs["in_is_first"], **outputs})
    rows = {k: torch.stack([c[k] for c in columns], 1) for k in columns[0]}
    rows["policy/dreams"] = rows["out_extra_dreams"]
    found = agent.opinion(rows).raw
    torch.testing.assert_close(found, rows["out_extra_behaviour"][:, 2:])


@pytest.mark.parametrize(
    "config",
    [{"depth": 0}, {"model": "copy", "depth": 1}, {"model": "true", "depth": 2}, {"depth": 2}],
)
def test_it_runs_in_lockstep(tmp_path: Path, config: dict[str, Any]) -> None:
    full = {**SMALL, "model_rows": 60, "fits": 1, "frames": 2, **config}
    summary = run("i2a", SOKOBAN, steps=150, config=full, min_rows=1, eval_episodes=1)
    assert summary["updates"] >= 20


def test_what_it_cannot_do_it_refuses() -> None:
    box = spaces.Box(-1, 1, (2,), np.float32)
    for seen, action, expected in (
        (SEEN, box, "expected Discrete"),
        (spaces.Dict(x=box), MOVES, "expected one of shape"),
        (spaces.Dict(a=SEEN["obs"], b=SEEN["obs"]), MOVES, "expected one of shape"),
        (spaces.Dict(x=spaces.Box(-1, 1, (3, 3, 1), np.float32)), MOVES, "within 0..1"),
    ):
        with pytest.raises(UnsupportedSpace, match=expected):
            I2A(seen, action, I2AConfig(), CPU)


BOARD = spaces.Dict(obs=spaces.Box(0, 1, (7, 7, 4), np.float32))


@pytest.mark.parametrize(
    ("seen", "actions", "expected"),
    [
        (BOARD, 3, r"action_space: expected Sokoban's Discrete\(4\).*got Discrete\(3\)"),
        (spaces.Dict(obs=spaces.Box(0, 1, (7, 6, 4), np.float32)), 4, r"got \(7, 6, 4\), float32"),
        (spaces.Dict(obs=spaces.Box(0, 255, (7, 7, 4), np.uint8)), 4, r"got \(7, 7, 4\), uint8"),
        (SEEN, 4, r"observation\.obs: expected Sokoban's planes"),
    ],
)
def test_the_true_model_of_another_world_is_not_known(
    seen: spaces.Dict, actions: int, expected: str
) -> None:
    config = I2AConfig.model_validate({**SMALL, "model": "true"})
    with pytest.raises(UnsupportedSpace, match=expected):
        I2A(seen, spaces.Discrete(actions), config, CPU)


def test_the_true_model_needs_no_rows_to_be_used() -> None:
    config = I2AConfig.model_validate({**SMALL, "model": "true"})
    agent = I2A(BOARD, spaces.Discrete(4), config, CPU)
    assert isinstance(agent.imagination.model, SokobanRules)
    assert agent.net.trusted == agent.net.awake == 1
    assert "experience" not in agent._kept()
    generator = torch.Generator().manual_seed(0)
    batch = random_batch(agent, BOARD, spaces.Discrete(4), generator)
    metrics = agent.train(batch | {"obs": batch["obs"].abs().round()}).metrics
    assert "loss/policy" in metrics
    assert "loss/model" not in metrics


class Line:
    """Walkers on lines of five squares; who finds the goal earns 1, and it appears elsewhere."""

    def __init__(self, count: int) -> None:
        self.rng = np.random.default_rng(0)
        self.walker = self.rng.integers(5, size=count)
        self.goal = (self.walker + self.rng.integers(1, 5, count)) % 5

    def see(self) -> torch.Tensor:
        planes = np.stack([np.eye(5)[self.walker], np.eye(5)[self.goal]], -1)
        return torch.from_numpy(planes[:, None]).float()

    def step(self, action: torch.Tensor) -> torch.Tensor:
        self.walker = np.clip(self.walker + action.numpy() - 1, 0, 4)
        found = self.walker == self.goal
        elsewhere = (self.walker + self.rng.integers(1, 5, len(found))) % 5
        self.goal = np.where(found, elsewhere, self.goal)
        return torch.from_numpy(found).float()


def act(agent: I2A, line: Line, generator: torch.Generator, reward: torch.Tensor) -> Tensors:
    """A row of all walkers, with what led to it."""
    count = len(reward)
    uniform = torch.rand(count, 3 + 3 * 2 * 3, generator=generator).clamp(1e-6, 1 - 1e-6)
    gumbel = -(-uniform.log()).log()
    inputs = {
        "in_obs": line.see(),
        "in_is_first": torch.zeros(count, dtype=torch.bool),
        "in_carry_frames": torch.zeros(count, 1, 2, 1, 5),
        "in_noise_action": gumbel[:, :3],
        "in_noise_dreams": gumbel[:, 3:].reshape(count, 3, 2, 3),
    }
    with torch.no_grad():
        found = agent.acting().graphs["policy"](inputs)
    no = torch.zeros(count, dtype=torch.bool)
    flags = dict.fromkeys(("is_first", "is_last", "is_terminal"), no)
    extras = {f"policy/{k}": found[f"out_extra_{k}"] for k in ("behaviour", "dreams")}
    columns = {"obs": inputs["in_obs"], "reward": reward, "action": found["out_action"]}
    return {**columns, **flags, **extras}


def test_it_learns_to_find_what_it_imagines_finding() -> None:
    """After 320 random steps of 16 walkers it knows the world, after 1000 more how to act."""
    torch.manual_seed(0)
    seen = spaces.Dict(obs=spaces.Box(0, 1, (1, 5, 2), np.float32))
    config = {**SMALL, "frames": 1, "depth": 2, "batch_size": 16, "n_step": 5, "width": 32}
    learn = {"model_rows": 320, "fits": 40, "learning_rate": 5e-3, "discount": 0.9}
    agent = I2A(seen, MOVES, I2AConfig.model_validate(config | learn), CPU)
    line, generator = Line(16), torch.Generator().manual_seed(0)
    reward, earned, kept = torch.zeros(16), [], []
    for _ in range(120):
        while len(kept) < 6:
            kept.append(act(agent, line, generator, reward))
            reward = line.step(kept[-1]["action"])
            earned.append(reward.mean().item())
        learned = agent.train({k: torch.stack([row[k] for row in kept], 1) for k in kept[0]})
        kept = kept[-1:]
    assert learned.metrics["model/used"] == 1
    early, late = np.mean(earned[:20]), np.mean(earned[-100:])
    assert early < 0.12 < 0.2 < late, (early, late)
