"""Learned dynamics: likelihoods by hand, units, shares of rows, and what a task declares."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.blocks.actions import ActionCodec
from agents.blocks.adam import FusedAdam
from agents.blocks.dynamics import Dynamics, Experience, Outcomes, Shares, Step, experience
from agents.blocks.normalize import Units
from agents.blocks.observe import Features, Vectors
from agents.blocks.off_policy import step
from agents.errors import UnsupportedSpace
from robot_client.rewards import Expression, Quadratic
from robot_client.schema import Task

SEEN = spaces.Dict(
    b=spaces.Box(-9, 9, (2, 2), np.float32),
    a=spaces.Box(-1, 1, (1,), np.float32),
    c=spaces.Box(-9, 9, (), np.float32),
)
ARM = spaces.Box(-2, 2, (1,), np.float32)


def test_vectors_come_in_the_order_of_features_and_go_back() -> None:
    vectors = Vectors(SEEN)
    obs = {"a": torch.ones(3, 1), "b": torch.randn(3, 2, 2), "c": torch.arange(3.0)}
    x = vectors(obs)
    assert torch.equal(x[:, :5], Features(spaces.Dict(a=SEEN["a"], b=SEEN["b"]))(obs))
    for axes in (x, x.expand(2, 3, 6)):
        parts = vectors.split(axes)
        assert all(torch.equal(parts[k], obs[k].expand_as(parts[k])) for k in obs)
    assert vectors.within(torch.full((1, 6), 20.0)).tolist() == [[1, 9, 9, 9, 9, 9]]


def test_a_model_of_images_is_refused() -> None:
    with pytest.raises(UnsupportedSpace, match=r"observation\.eye: expected a Box of float32"):
        Vectors(spaces.Dict(eye=spaces.Box(0, 255, (8, 8, 3), np.uint8)))


def test_units_are_those_of_all_that_was_seen() -> None:
    units, rows = Units(2, limit=0.5), 1e3 + torch.randn(40, 2) * torch.tensor([3.0, 0.0])
    for batch in rows.split(10):
        units.update(batch)
    torch.testing.assert_close(units.mean, rows.mean(0))
    assert units.deviation()[0].item() == pytest.approx(
        rows[:, 0].std(unbiased=False).item(), rel=1e-4
    )
    assert units.deviation()[1] == 0.5
    torch.testing.assert_close(units.restore(units.normalise(rows)), rows)


def flat(members: int = 1) -> Dynamics:
    """Of one observation and one action, without hidden layers."""
    torch.manual_seed(0)
    vectors = Vectors(spaces.Dict(x=spaces.Box(-9, 9, (1,), np.float32)))
    return Dynamics(vectors, 1, (), members)


def test_the_likelihood_counts_by_the_root_of_its_variance() -> None:
    model = flat()
    with torch.no_grad():
        model.nets.weights[0].zero_()
        model.nets.biases[0].copy_(torch.tensor([0.5, -1.0, -2.0, 3.0]))
        model.ends.weights[0].zero_()
        model.ends.biases[0].fill_(1.5)
        model.seen.variance.fill_(4.0)
        model.told.mean.copy_(torch.tensor([1.0, 0.0]))
    seen = Experience(*(torch.tensor(v) for v in ([[2.0]], [[0.3]], [[4.0]], [1.0], [0.0])))
    loss, metrics = model.loss(seen)
    expected, softplus = 0.0, lambda v: math.log1p(math.exp(v))
    for error, raw in ((1.0 - 0.5, -2.0), (1.0 + 1.0, 3.0)):
        log_var = 0.5 - softplus(0.5 - raw)
        log_var = -10 + softplus(log_var + 10)
        expected += math.exp(log_var / 2) * (error**2 * math.exp(-log_var) + log_var)
    expected += softplus(1.5)  # it thought that it goes on
    assert metrics["loss/model"].item() == pytest.approx(expected, rel=1e-5)
    assert loss.item() == pytest.approx(expected + 0.01 * 2 * 10.5, rel=1e-5)
    found = model.step(seen.x, seen.action)
    assert found.after.item() == pytest.approx(2 + 1 + 0.5)
    assert found.reward.item() == pytest.approx(-1.0)
    noise = torch.tensor([[[2.0, 0.0]]])
    deviation = math.exp(0.5 * (-10 + softplus(10.5 - softplus(2.5))))
    drawn = model.step(seen.x, seen.action, noise).after.item()
    assert drawn == pytest.approx(3.5 + 2 * deviation, rel=1e-5)


def test_numbers_that_never_change_and_rare_ends_leave_the_others_alone() -> None:
    torch.manual_seed(0)
    vectors = Vectors(spaces.Dict(x=spaces.Box(-9, 9, (3,), np.float32)))
    model = Dynamics(vectors, 1, (64, 64), members=1)
    optimizer = FusedAdam(model.parameters(), 3e-3)
    for _ in range(600):
        x, action = torch.rand(128, 3) * 4 - 2, torch.rand(128, 1) * 2 - 1
        x[:, 1:] = 1.0  # a goal, say
        change = torch.cat([(2 * x[:, :1]).sin() * action, torch.zeros(128, 2)], -1)
        over = (x[:, 0] > 1.6).float()  # for a tenth of all rows
        seen = Experience(x, action, x + change, torch.ones(128), 1 - over)
        model.learn_units(seen)
        loss, _ = model.loss(seen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = model.step(x, action)
    error = (found.after - seen.after)[0, :, 0].square().mean().sqrt()
    assert error < 0.25 * change[:, 0].std()
    assert found.going_on[0][over > 0].mean() < 0.3
    assert found.going_on[0][x[:, 0] < 1.3].mean() > 0.97


def test_members_learn_from_shares_of_their_own_that_do_not_change() -> None:
    shares, rows = Shares(4, 3), torch.randn(4000, 3)
    often = shares(rows)
    assert often.mean(1).tolist() == pytest.approx([1.0] * 4, abs=0.1)
    assert often.var(1).tolist() == pytest.approx([1.0] * 4, abs=0.15)
    assert torch.corrcoef(often).fill_diagonal_(0).abs().max() < 0.1
    order = torch.randperm(4000)[:100]
    assert torch.equal(shares(rows[order]), often[:, order])
    assert torch.equal(Shares(1, 3)(rows), torch.ones(1, 4000))


def test_it_learns_a_spring_and_where_it_knows_nothing() -> None:
    torch.manual_seed(0)
    vectors = Vectors(spaces.Dict(x=spaces.Box(-99, 99, (2,), np.float32)))
    model = Dynamics(vectors, 1, (32, 32), members=3)
    optimizer = FusedAdam(model.parameters(), 3e-3)

    def draw(rows: int) -> Experience:
        x, action = torch.rand(rows, 2) * 20 - 10, torch.rand(rows, 1) * 2 - 1
        place, speed = x.unbind(-1)
        after = torch.stack([place + 0.1 * speed, speed - 0.1 * place + action[:, 0]], -1)
        return Experience(x, action, after, -place.square(), (place < 8).float())

    for _ in range(500):
        seen = draw(64)
        model.learn_units(seen)
        step(optimizer, model.loss(seen)[0])
    seen = draw(256)
    found = model.step(seen.x, seen.action)
    assert (found.after - seen.after).abs().mean() < 0.1  # changes are about 0.6
    assert (found.reward - seen.reward).abs().mean() < 3  # of 0 to -100
    right = (found.going_on > 0.5) == (seen.going_on > 0.5)
    assert right.float().mean() > 0.93
    near, far = (model.step(scale * seen.x, seen.action).after.var(0).mean() for scale in (1, 4))
    assert far > 10 * near


def test_what_is_declared_goes_before_what_was_learned() -> None:
    vectors, codec = Vectors(SEEN), ActionCodec(ARM)
    x = torch.randn(2, 3, 6)
    learned = Step(x, torch.zeros(2, 3), torch.ones(2, 3) / 2)
    action = torch.full((3, 1), 0.5)  # half of the range: the robot's own is 1
    task = Task("t", reward=Quadratic("a", (2.0,), (1.0,), 0.1), terminal=Expression("a[0] > 0"))
    found = Outcomes(vectors, codec, task).of(learned, action)
    torch.testing.assert_close(found.reward, -2 * (x[..., 0] - 1).square() - 0.1)
    assert torch.equal(found.going_on, (x[..., 0] <= 0).float())
    hidden = Task("t", reward=Quadratic("other", (1.0,), (0.0,)))
    for unknown in (hidden, Task("t"), None):
        assert Outcomes(vectors, codec, unknown).of(learned, action).reward is learned.reward


def test_a_batch_tells_where_a_task_ended() -> None:
    batch = {k: torch.zeros(2, *v.shape) for k, v in SEEN.spaces.items()}
    batch |= {f"next/{k}": t + 1 for k, t in batch.items()}
    batch |= {"action": torch.full((2, 1), 2.0), "return": torch.ones(2)}
    batch |= {"discount": torch.tensor([0.9, 0.0])}
    seen = experience(batch, Vectors(SEEN), ActionCodec(ARM))
    assert seen.going_on.tolist() == [1, 0]
    assert seen.action.tolist() == [[1], [1]]
    assert seen.after.sum() == 12
