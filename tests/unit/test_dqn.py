"""DQN's targets by hand, its fixed point on a small world, and its options one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.dqn import DQN, DQNConfig
from agents.errors import UnsupportedSpace

STATE = spaces.Dict(state=spaces.Discrete(3))
CPU = torch.device("cpu")


def build(**config: Any) -> DQN:
    """Without hidden layers on a one-hot state: a table of values."""
    torch.manual_seed(0)
    full = DQNConfig.model_validate({"widths": (), "batch_size": 2, **config})
    return DQN(STATE, spaces.Discrete(2), full, CPU)


@torch.no_grad()
def write(net: torch.nn.Module, table: list[list[float]]) -> None:
    """Q(s, a) of the three states."""
    layer = net.advantage.layers[0].layer
    layer.weight.copy_(torch.tensor(table).T)
    layer.bias.zero_()


def rows(**columns: list[float]) -> dict[str, torch.Tensor]:
    whole = {"state", "action", "next/state"}
    return {
        k.replace("next_", "next/"): torch.tensor(
            v, dtype=torch.int64 if k.replace("next_", "next/") in whole else torch.float32
        )
        for k, v in columns.items()
    } | {}


BATCH = {
    "state": [0, 1],
    "action": [1, 0],
    "return": [1.0, -2.0],
    "discount": [0.9, 0.0],
    "next_state": [2, 2],
}
LIVE = [[0.0, 0.5], [1.0, 0.0], [3.0, 2.0]]
SLOW = [[0.0, 0.0], [0.0, 0.0], [5.0, 7.0]]


def predicted(target: Any) -> list[float]:
    return (target.reward + target.discount * target.following[:, 0]).tolist()


@pytest.mark.parametrize(("double", "first"), [(False, 1 + 0.9 * 7), (True, 1 + 0.9 * 5)])
def test_the_target_is_the_papers(double: bool, first: float) -> None:
    agent = build(double=double)
    write(agent.net, LIVE)
    write(agent.slow.net, SLOW)
    # The second row is terminal: what follows it does not count.
    assert predicted(agent.target(rows(**BATCH))) == pytest.approx([first, -2.0])


def test_the_loss_is_hubers_of_the_taken_action_and_weighs_rows() -> None:
    agent = build(priority=0.5, correction=0.5, correction_updates=10)
    write(agent.net, LIVE)
    write(agent.slow.net, SLOW)
    chance = torch.tensor([4.0, 1.0])
    learned = agent.train({**rows(**BATCH), "chance": chance})
    errors = [7.3 - 0.5, 3.0]
    assert learned.priority is not None
    assert learned.priority.tolist() == pytest.approx(errors)
    # chance^-0.5 is 1/2 and 1; the largest weight is 1.
    expected = (0.5 * (errors[0] - 0.5) + (errors[1] - 0.5)) / 2
    assert float(learned.metrics["loss"]) == pytest.approx(expected, rel=1e-6)


def test_the_correction_grows_to_one() -> None:
    agent = build(priority=0.5, correction=0.4, correction_updates=10)
    batch = {"chance": torch.tensor([4.0, 1.0]), "return": torch.zeros(2)}
    for updates, exponent in ((0, 0.4), (5, 0.7), (10, 1.0), (99, 1.0)):
        agent._updates.fill_(updates)
        assert agent._weight(batch).tolist() == pytest.approx([4**-exponent, 1.0])


def test_the_target_network_is_copied_when_it_is_due() -> None:
    agent = build(target_every=3)
    weight = lambda net: net.advantage.layers[0].layer.weight.clone()  # noqa: E731
    copied = []
    for _ in range(7):
        agent.train(rows(**BATCH))
        copied.append(torch.equal(weight(agent.net), weight(agent.slow.net)))
    assert copied == [True, False, False, True, False, False, True]


def test_duelling_values_are_the_mean_over_actions() -> None:
    agent = build(duelling=True, widths=(8,))
    net, obs = agent.net, {"state": torch.tensor([0, 1, 2])}
    none = torch.zeros(1, 0)
    q = agent.net.head.pred(net(obs, none))
    value = net.value(net.features(obs), none)
    torch.testing.assert_close(q.mean(1, keepdim=True), value)
    advantage = net.advantage(net.features(obs), none)
    torch.testing.assert_close(q[:, 0] - q[:, 1], advantage[:, 0] - advantage[:, 1])


def test_noise_is_drawn_anew_for_each_network_and_update() -> None:
    agent = build(noisy=True)
    agent.slow.net.load_state_dict(agent.net.state_dict())
    one, two = (agent.target(rows(**BATCH)).following for _ in range(2))
    assert not torch.equal(one, two)


# A circle of three states: action 0 stays, action 1 goes on; leaving state 2 pays 1 and ends.
WORLD = {
    "state": [0, 0, 1, 1, 2, 2],
    "action": [0, 1, 0, 1, 0, 1],
    "return": [0.0, 0.0, 0.0, 0.1, 0.0, 1.0],
    "discount": [0.9, 0.9, 0.9, 0.9, 0.9, 0.0],
    "next_state": [0, 1, 1, 2, 2, 0],
}
OPTIMAL = [[0.9 * 0.9, 0.9], [0.9, 1.0], [0.9, 1.0]]


@pytest.mark.parametrize("double", [False, True])
def test_the_optimal_values_are_a_fixed_point(double: bool) -> None:
    agent = build(double=double)
    for net in (agent.net, agent.slow.net):
        write(net, OPTIMAL)
    loss = agent.train(rows(**WORLD)).metrics["loss"]
    assert float(loss) < 1e-12


@pytest.mark.parametrize(
    "options",
    [{}, {"double": True}, {"duelling": True, "widths": (32,)}, {"atoms": 41, "low": 0, "high": 2}],
    ids=["plain", "double", "duelling", "atoms"],
)
def test_values_converge_to_the_optimal_ones(options: dict[str, Any]) -> None:
    agent = build(learning_rate=0.03, target_every=0, target_rate=0.2, **options)
    batch = rows(**WORLD)
    for _ in range(600):
        agent.train(batch)
    obs = {"state": torch.tensor([0, 1, 2])}
    with torch.no_grad():
        found = agent.net.head.pred(agent.net(obs, torch.zeros(1, 0)))
    np.testing.assert_allclose(found.numpy(), OPTIMAL, atol=0.03)


def test_numbers_as_actions_are_refused() -> None:
    box = spaces.Box(-1, 1, (2,), np.float32)
    with pytest.raises(UnsupportedSpace, match="expected Discrete"):
        DQN(STATE, box, DQNConfig(), CPU)
