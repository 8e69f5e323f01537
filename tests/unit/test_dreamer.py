from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from pydantic import ValidationError

from agents.agent import Tensors
from agents.dreamer import Dreamer, DreamerConfig
from agents.errors import UnsupportedSpace
from agents.testing import random_batch
from robot_client.schema import ACTION, IS_FIRST, IS_LAST, IS_TERMINAL, REWARD

SPACE = spaces.Dict(
    {
        "vector": spaces.Box(-1, 1, (3,), np.float32),
        "camera": spaces.Box(0, 255, (16, 16, 3), np.uint8),
    }
)
VECTOR = spaces.Dict({"vector": SPACE["vector"]})
BOX = spaces.Box(-1, 1, (2,), np.float32)
DISCRETE = spaces.Discrete(3)


def make(space: spaces.Dict = VECTOR, action: Any = BOX, **config: Any) -> Dreamer:
    torch.manual_seed(0)
    small = {"size": "tiny", "batch_size": 2, "batch_length": 6, "horizon": 3, "warmup": 1}
    return Dreamer(space, action, DreamerConfig(**(small | config)), torch.device("cpu"))


def batch_of(agent: Dreamer, space: spaces.Dict = VECTOR, action: Any = BOX) -> Tensors:
    return random_batch(agent, space, action, torch.Generator().manual_seed(1))


def trained(agent: Dreamer) -> list[torch.nn.Parameter]:
    return [p for m in (agent.world, agent.behaviour) for p in m.parameters() if p.requires_grad]


def moved(module: torch.nn.Module) -> set[str]:
    return {n for n, p in module.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.filterwarnings("ignore")  # torch's own, while compiling
@pytest.mark.timeout(900)
def test_compiled_losses_and_gradients_equal_eager() -> None:
    eager = make(batch_length=2, horizon=1)
    batch = batch_of(eager)
    noise = eager.draw(*batch[REWARD].shape)
    results = []
    # Half the time goes into vectors, which are torch's affair.
    compiled = torch.compile(eager.losses, options={"cpp.simdlen": 1})
    for losses in (eager.losses, compiled):
        eager.behaviour.load_state_dict(make(batch_length=2, horizon=1).behaviour.state_dict())
        total, _, states = losses(batch, noise)
        eager.world.zero_grad()
        eager.behaviour.zero_grad()
        total.backward()
        results.append((total, states.deter, [p.grad.clone() for p in trained(eager)]))
    (a, deter_a, grads_a), (b, deter_b, grads_b) = results
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(deter_a, deter_b, rtol=1e-5, atol=1e-5)
    for left, right in zip(grads_a, grads_b, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("action", [BOX, DISCRETE], ids=["box", "discrete"])
def test_overfits_one_batch(action: Any) -> None:
    agent = make(SPACE, action, learning_rate=1e-3, batch_size=4)
    batch = batch_of(agent, SPACE, action)
    batch["camera"] = batch["camera"][:, :, :1, :1, :1].expand(batch["camera"].shape)  # grey cards
    first = agent.train(batch).metrics
    for _ in range(150):
        last = agent.train(batch).metrics
    assert last["loss/observation/vector"] < 0.2 * first["loss/observation/vector"]
    assert last["loss/observation/camera"] < 0.2 * first["loss/observation/camera"]
    assert last["loss/reward"] < 0.6 * first["loss/reward"]


def test_states_depend_on_the_action_before_and_not_on_the_rows_own() -> None:
    agent = make()
    batch = batch_of(agent)
    noise = agent.draw(*batch[REWARD].shape).posterior
    before = agent.world.filter(batch, noise)
    changed = dict(batch)
    changed[ACTION] = batch[ACTION].clone()
    changed[ACTION][:, 2] += 0.5
    after = agent.world.filter(changed, noise)
    assert torch.equal(before.deter[:, :3], after.deter[:, :3])
    assert not torch.allclose(before.deter[:, 3], after.deter[:, 3])
    changed["prev_action"] = batch["prev_action"] + 0.5
    assert not torch.allclose(before.deter[:, 0], agent.world.filter(changed, noise).deter[:, 0])


def test_context_of_the_row_before_continues_the_window() -> None:
    """Filtering a window in two halves, the second from the first one's context, is the same."""
    agent = make()
    batch = batch_of(agent)
    noise = agent.draw(*batch[REWARD].shape).posterior
    whole = agent.world.filter(batch, noise)
    second = {k: t[:, 3:] if t.ndim > 1 and t.shape[1] == 6 else t for k, t in batch.items()}
    second["prev_action"] = batch[ACTION][:, 2]
    second["context/deter"] = whole.deter[:, 2]
    second["context/stoch"] = whole.stoch[:, 2].argmax(-1)
    half = agent.world.filter(second, noise[:, 3:])
    torch.testing.assert_close(half.deter, whole.deter[:, 3:])
    second[IS_FIRST] = torch.ones_like(second[IS_FIRST])
    assert not torch.allclose(agent.world.filter(second, noise[:, 3:]).deter, whole.deter[:, 3:])


def test_dream_starts_at_every_row_and_moves_at_every_step() -> None:
    agent = make()
    batch = batch_of(agent)
    noise = agent.draw(*batch[REWARD].shape)
    states = agent.world.filter(batch, noise.posterior)
    dream = agent.behaviour.dream(agent.world, states, noise.dream, noise.action)
    assert dream.feats.shape[:2] == (12, 4)
    assert torch.equal(dream.feats[:, 0, :128], states.deter.flatten(0, 1))
    moved = (dream.feats[:, 1:] - dream.feats[:, :-1]).abs().amax(-1)
    assert (moved > 0).all()


def test_nothing_of_the_behaviour_moves_the_world_model() -> None:
    """Actor and critic learn from dreams; only real rewards reach the model through the critic."""
    agent = make(replay_value_scale=0.0)
    batch = batch_of(agent)
    noise = agent.draw(*batch[REWARD].shape)
    states = agent.world.filter(batch, noise.posterior)
    losses, _ = agent._behaviour_losses(agent.behaviour, batch, states, noise)
    (losses["policy"].sum() + losses["value"].sum()).backward()
    assert not moved(agent.world)
    assert {name.split(".")[0] for name in moved(agent.behaviour)} == {"policy", "value"}


def test_learns_that_a_terminal_ends_and_a_time_limit_does_not() -> None:
    agent = make(learning_rate=1e-3, batch_size=4, dyn_scale=0.0)
    batch = batch_of(agent)
    batch[IS_LAST][:, -1] = True
    batch[IS_TERMINAL][:2, -1] = True
    for _ in range(150):
        agent.train(batch)
    noise = agent.draw(*batch[REWARD].shape).posterior
    states = agent.world.filter(batch, noise)
    feat = torch.cat([states.deter, states.stoch.flatten(-2)], -1)
    goes_on = agent.world.goes_on(feat).prob()[:, -1]
    assert (goes_on[:2] < 0.5).all(), goes_on
    assert (goes_on[2:] > 0.9).all(), goes_on


def test_report_shows_truth_prediction_and_error() -> None:
    agent = make(SPACE, batch_size=3, batch_length=8)
    report = agent.report(batch_of(agent, SPACE))
    film = report["open_loop_camera"]
    assert film.shape == (8, 3 * 16, 3 * 16, 3)
    assert film.dtype == torch.uint8
    assert report["open_loop_vector"].shape == (8, 3, 2)


def test_keys_choose_what_is_seen() -> None:
    agent = make(SPACE, keys="vector")
    assert set(agent.report(batch_of(agent, SPACE))) == {"open_loop_vector"}
    with pytest.raises(UnsupportedSpace, match="keys: expected a pattern that matches one of"):
        make(SPACE, keys="lidar")
    with pytest.raises(ValueError, match="not a regular expression"):
        make(SPACE, keys="(")


def test_report_of_windows_as_long_as_the_context_is_wide() -> None:
    agent = make()
    agent = make(batch_length=agent.acting().signature.extras["stoch"].shape[0])
    report = agent.report(batch_of(agent))
    assert report["open_loop_vector"].shape[0] == agent.config.batch_length


def test_observations_may_be_called_as_losses_are() -> None:
    names = ("value", "policy", "dyn", "continue")
    space = spaces.Dict(dict.fromkeys(names, VECTOR["vector"]))
    agent = make(space)
    metrics = agent.train(batch_of(agent, space)).metrics
    assert {f"loss/{name}" for name in names} <= metrics.keys()
    assert {f"loss/observation/{name}" for name in names} <= metrics.keys()


def test_there_is_no_warmup_of_nothing() -> None:
    with pytest.raises(ValidationError, match="warmup"):
        make(warmup=0)


def test_random_state_of_another_kind_of_device_is_no_obstacle() -> None:
    state = make().state_dict() | {"generator": torch.arange(16, dtype=torch.uint8)}  # as CUDA's
    first, second, fresh = make(), make(), make()
    first.load_state_dict(state)
    second.load_state_dict(state)
    drawn = [agent.draw(1, 2).posterior for agent in (first, second, fresh)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
