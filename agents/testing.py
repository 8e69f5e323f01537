"""Checks for agents, ours and yours: `check_agent` tries all that `agents.agent` promises."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from gymnasium import spaces

from agents.agent import Actor, Agent, Nothing, OnPolicy, Sequences, Tensors, Transitions
from agents.export import example_inputs
from robot_client import schema
from robot_client.schema import ActionSpace

MakeAgent = Callable[[], Agent]


def check_agent(make: MakeAgent, observation_space: spaces.Dict, action_space: ActionSpace) -> None:
    """Check an agent on random data. Raises AssertionError saying what is wrong.

    Args:
        make: builds the agent, always with the same seed.
        observation_space, action_space: what `make` builds it for.
    """
    check_actor(make().actor(), observation_space, action_space)
    first, second = make(), make()
    batches = [
        random_batch(first, observation_space, action_space, torch.Generator().manual_seed(i))
        for i in range(3)
    ]
    if not isinstance(first.demand, Nothing):
        check_training(first, second, batches)
        check_resuming(first, make(), batches[-1])
        for name, data in first.report(batches[0]).items():
            assert data.ndim in (3, 4), f"report {name}: expected (T, H, W, C) or (T, K, 2)"


def check_actor(actor: Actor, observation_space: spaces.Dict, action_space: ActionSpace) -> None:
    """The actor is a pure function of its inputs, acts in the space, and forgets at is_first."""
    generator = torch.Generator().manual_seed(0)
    inputs = example_inputs(actor, observation_space, action_space, generator)
    signature = actor.signature
    expected = {"out_action", *(f"out_carry_{k}" for k in signature.carry)}
    expected |= {f"out_extra_{k}" for k in signature.extras}
    outputs = actor(inputs)
    assert outputs.keys() == expected, f"expected outputs {sorted(expected)}, got {sorted(outputs)}"
    _assert_equal(outputs, actor(inputs), "the same inputs must give the same outputs")
    action = outputs["out_action"][0].detach().numpy()
    wanted = np.dtype(action_space.dtype)
    assert action.dtype == wanted, f"expected an action of {wanted}, got {action.dtype}"
    assert action_space.contains(action if action.ndim else action[()]), f"{action} is outside"
    for kind, specs in (("carry", signature.carry), ("extra", signature.extras)):
        for name, spec in specs.items():
            got = outputs[f"out_{kind}_{name}"]
            assert got.shape == (1, *spec.shape), (
                f"{kind} {name}: expected {spec.shape}, got {got.shape}"
            )
            assert got.dtype == getattr(torch, spec.dtype), f"{kind} {name}: {got.dtype}"
    _check_forgets(actor, inputs)


def check_training(first: Agent, second: Agent, batches: list[Tensors]) -> None:
    """Two agents of one seed learn the same; metrics are finite scalars; context has its shape."""
    for batch in batches:
        learned, again = first.train(batch), second.train(batch)
        for name, value in learned.metrics.items():
            assert value.ndim == 0, f"metric {name}: expected a scalar, got {tuple(value.shape)}"
            assert torch.isfinite(value), f"metric {name} is {value}"
        _assert_equal(learned.metrics, again.metrics, "two agents of one seed must learn the same")
        for name, value in learned.context.items():
            assert f"context/{name}" in batch, f"context {name} is not demanded"
            assert value.shape[:2] == batch[schema.REWARD].shape, f"context {name}: {value.shape}"


def check_resuming(trained: Agent, fresh: Agent, batch: Tensors) -> None:
    """A fresh agent that loads the state goes on exactly as the old one does."""
    state = {name: tensor.detach().clone() for name, tensor in trained.state_dict().items()}
    fresh.load_state_dict(state)
    metrics = trained.train(batch).metrics
    _assert_equal(metrics, fresh.train(batch).metrics, "a loaded agent must go on as the saved one")


def random_batch(
    agent: Agent,
    observation_space: spaces.Dict,
    action_space: ActionSpace,
    generator: torch.Generator,
) -> Tensors:
    """A batch of the agent's demand, filled with random rows of unfinished episodes."""
    demand = agent.demand
    rows = schema.row_fields(observation_space, action_space)
    match demand:
        case Sequences(batch, length, context):
            tensors = _columns(rows, (batch, length), generator)
            tensors["prev_action"] = _values(rows[schema.ACTION], (batch,), generator)
            extras = agent.actor().signature.extras
            for name in context:
                field = schema.Field(extras[name].dtype, extras[name].shape, 2)
                tensors[f"context/{name}"] = _values(field, (batch,), generator)
            return tensors
        case OnPolicy(batch, length):
            return _columns(rows, (batch, length), generator)
        case Transitions(batch):
            tensors = _columns(rows, (batch,), generator)
            for key in observation_space.spaces:
                tensors[f"next/{key}"] = _values(rows[key], (batch,), generator)
            tensors["return"] = torch.randn(batch, generator=generator)
            tensors["discount"] = torch.full((batch,), demand.discount)
            return tensors
        case Nothing():
            return {}


def _columns(
    rows: dict[str, schema.Field], shape: tuple[int, ...], generator: torch.Generator
) -> Tensors:
    tensors = {name: _values(field, shape, generator) for name, field in rows.items()}
    for flag in (schema.IS_FIRST, schema.IS_LAST, schema.IS_TERMINAL):
        tensors[flag] = torch.zeros(shape, dtype=torch.bool)
    return tensors


def _values(
    field: schema.Field, shape: tuple[int, ...], generator: torch.Generator
) -> torch.Tensor:
    full, dtype = (*shape, *field.shape), getattr(torch, field.dtype)
    if dtype.is_floating_point:
        return (torch.rand(full, generator=generator) * 2 - 1).to(dtype)
    return torch.randint(0, field.n or 256, full, generator=generator).to(dtype)


def _check_forgets(actor: Actor, inputs: Tensors) -> None:
    first = {**inputs, "in_is_first": torch.ones(1, dtype=torch.bool)}
    other = dict(first)
    for name in first:
        if name.startswith("in_carry_") or name == "in_prev_action":
            other[name] = torch.zeros_like(first[name])
    _assert_equal(actor(first), actor(other), "is_first must reset the carry and the last action")


def _assert_equal(a: Tensors, b: Tensors, why: str) -> None:
    for name in a:
        assert torch.equal(a[name], b[name]), f"{why}: {name} differs"
