"""Checks for agents, ours and yours: `check_agent` tries all that `agents.agent` promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from gymnasium import spaces

from agents.agent import (
    Acting,
    Agent,
    Graph,
    Learned,
    Nothing,
    OnPolicy,
    Sequences,
    Taught,
    Tensors,
    Transitions,
    Trials,
)
from agents.export import ROWS, example_inputs
from robot_client import schema
from robot_client.bundle import SAID, TensorSpec
from robot_client.schema import ActionSpace

MakeAgent = Callable[[], Agent]


def check_agent(make: MakeAgent, observation_space: spaces.Dict, action_space: ActionSpace) -> None:
    """Check an agent on random data. Raises AssertionError saying what is wrong.

    It must learn from the first three batches on: an agent with phases or a warm-up wants a
    configuration in which they are short.

    Args:
        make: builds the agent, always with the same seed.
        observation_space, action_space: what `make` builds it for.
    """
    check_acting(make().acting(), observation_space, action_space)
    first, second = make(), make()
    batches = [
        random_batch(first, observation_space, action_space, torch.Generator().manual_seed(i))
        for i in range(3)
    ]
    if not isinstance(first.demand, Nothing):
        check_training(first, second, batches)
        third = make()
        check_travelling(first.acting(), third.acting(), observation_space, action_space)
        check_resuming(first, third, batches[-1])
        check_reporting(first, third, batches[0])


def check_acting(acting: Acting, observation_space: spaces.Dict, action_space: ActionSpace) -> None:
    """The graphs go together, and each is a pure function as `robot_client.bundle` wants it."""
    _check_names(acting)
    for name, graph in acting.graphs.items():
        generator = torch.Generator().manual_seed(0)
        inputs = example_inputs(acting, name, observation_space, action_space, generator)
        outputs = graph(inputs)
        _assert_equal(outputs, graph(inputs), f"{name}: equal inputs must give equal outputs")
        rows = 1 if name in ("policy", "filter") else ROWS
        _check_specs(name, rows, outputs, _outputs(acting, name, action_space))
        if name in ("policy", "filter"):
            _check_forgets(name, graph, inputs)
        else:
            _check_rows(name, graph, inputs, outputs)
        _check_said({k: t for k, t in outputs.items() if k in SAID}, action_space)
        if "out_action" in outputs:
            _check_action(name, outputs["out_action"].detach(), action_space)
        if name == "imagine":
            goes_on = outputs["out_continue"]
            assert ((goes_on >= 0) & (goes_on <= 1)).all(), f"continue outside 0..1: {goes_on}"


def check_training(first: Agent, second: Agent, batches: list[Tensors]) -> None:
    """Two agents of one seed learn the same, and something; metrics are finite scalars; context
    has its shape."""
    before = _travelling(first)
    for batch in batches:
        learned, again = first.train(batch), second.train(batch)
        for name, value in learned.metrics.items():
            assert value.ndim == 0, f"metric {name}: expected a scalar, got {tuple(value.shape)}"
            assert torch.isfinite(value), f"metric {name} is {value}"
        _assert_equal(learned.metrics, again.metrics, "two agents of one seed must learn the same")
        for name, value in learned.context.items():
            assert f"context/{name}" in batch, f"context {name} is not demanded"
            assert value.shape[:2] == batch[schema.REWARD].shape, f"context {name}: {value.shape}"
        _check_priority(first, learned)
    _assert_equal(first.state_dict(), second.state_dict(), "two agents of one seed must end alike")
    _check_moved(before, first)


def check_travelling(
    trained: Acting, fresh: Acting, observation_space: spaces.Dict, action_space: ActionSpace
) -> None:
    """What acts depends on nothing that was learned but the tensors that travel to robots: graphs
    that an earlier learner exported must do for the next one."""
    for name, graph in fresh.graphs.items():
        graph.load_state_dict(trained.graphs[name].state_dict())
        generator = torch.Generator().manual_seed(0)
        inputs = example_inputs(trained, name, observation_space, action_space, generator)
        why = f"{name} acts by something learned that does not travel"
        _assert_equal(graph(inputs), trained.graphs[name](inputs), why)


def _travelling(agent: Agent) -> Tensors:
    """A copy of all that the robots are sent."""
    graphs = agent.acting().graphs.items()
    return {f"{g}.{k}": t.clone() for g, graph in graphs for k, t in graph.state_dict().items()}


def _check_moved(before: Tensors, agent: Agent) -> None:
    """Every parameter that robots act by and that is not frozen has been learned; or, of an agent
    that has none, something else has."""
    graphs, after = agent.acting().graphs.items(), _travelling(agent)
    learns = {
        f"{g}.{k}" for g, graph in graphs for k, p in graph.named_parameters() if p.requires_grad
    }
    still = {name for name in after if torch.equal(before[name], after[name])}
    assert not learns & still, f"nothing was learned by {sorted(learns & still)}"
    assert still != after.keys(), "nothing was learned: what acts is as it was"


def _check_priority(agent: Agent, learned: Learned) -> None:
    demanded = isinstance(agent.demand, Transitions) and agent.demand.priority > 0
    assert demanded == (learned.priority is not None), "priorities go with demanding them"
    if isinstance(agent.demand, Transitions) and learned.priority is not None:
        assert learned.priority.shape == (agent.demand.batch,), tuple(learned.priority.shape)
        assert (learned.priority >= 0).all(), "a priority is below 0"


def check_resuming(trained: Agent, fresh: Agent, batch: Tensors) -> None:
    """A fresh agent that loads the state goes on exactly as the old one does."""
    state = {name: tensor.detach().clone() for name, tensor in trained.state_dict().items()}
    fresh.load_state_dict(state)
    why = "a loaded agent must go on as the saved one"
    _assert_equal(trained.train(batch).metrics, fresh.train(batch).metrics, why)
    _assert_equal(trained.state_dict(), fresh.state_dict(), why)


def check_reporting(shown: Agent, other: Agent, batch: Tensors) -> None:
    """Of two agents that are alike, the one that reports learns on as the one that does not."""
    for name, data in shown.report(batch).items():
        assert data.ndim in (3, 4), f"report {name}: expected (T, H, W, C) or (T, K, 2)"
    why = "what is learned must not depend on reports"
    _assert_equal(shown.state_dict(), other.state_dict(), why)
    _assert_equal(shown.train(batch).metrics, other.train(batch).metrics, why)


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
            extras = agent.acting().signature.extras
            for name in context:
                field = schema.Field(extras[name].dtype, extras[name].shape, 2)
                tensors[f"context/{name}"] = _values(field, (batch,), generator)
            if isinstance(demand, Trials):
                tensors |= _trials(extras, demand.trials, generator)
            return tensors
        case OnPolicy(batch, length):
            tensors = _columns(rows, (batch, length), generator) | _extras(
                agent, (batch, length), generator
            )
            tensors["prev_action"] = _values(rows[schema.ACTION], (batch,), generator)
            return tensors
        case Transitions(batch):
            tensors = _columns(rows, (batch,), generator) | _extras(agent, (batch,), generator)
            for key in observation_space.spaces:
                tensors[f"next/{key}"] = _values(rows[key], (batch,), generator)
            tensors["return"] = torch.randn(batch, generator=generator)
            tensors["discount"] = torch.full((batch,), demand.discount)
            if demand.priority:
                tensors["chance"] = torch.rand(batch, generator=generator) + 0.5
            if isinstance(demand, Taught):
                tensors |= _teaching(action_space, batch, generator)
            return tensors
        case Nothing():
            return {}


def _teaching(space: ActionSpace, batch: int, generator: torch.Generator) -> Tensors:
    """What teachers may say of (B,) rows, of whom every other one says no more than its action."""
    field, valued = schema.row_fields(spaces.Dict(), space)[schema.ACTION], torch.arange(batch) % 2
    said = {"action": _values(field, (batch,), generator), "valued": valued.bool()}
    said["task"] = torch.zeros(batch, schema.TASK_NUMBERS)
    if isinstance(space, spaces.Discrete):
        said["scores"] = torch.randn(batch, int(space.n), generator=generator)
    else:
        said["mean"] = torch.randn(batch, *space.shape, generator=generator)
        said["std"] = torch.rand(batch, *space.shape, generator=generator) + 0.1
    return {f"teacher/{name}": tensor for name, tensor in said.items()}


def _trials(extras: Mapping[str, TensorSpec], count: int, generator: torch.Generator) -> Tensors:
    """Episodes that have ended, but for the last one, which has not."""
    found = {
        f"trial/{name}": _values(schema.Field(spec.dtype, spec.shape, 2), (count,), generator)
        for name, spec in extras.items()
    }
    steps = torch.randint(1, 100, (count,), generator=generator)
    steps[-1] = 0
    return found | {"trial/steps": steps, "trial/return": torch.randn(count, generator=generator)}


def _extras(agent: Agent, shape: tuple[int, ...], generator: torch.Generator) -> Tensors:
    signature, found = agent.acting().signature, {}
    for name, spec in signature.extras.items():
        field = schema.Field(spec.dtype, spec.shape, 2)
        found[f"{schema.EXTRA_PREFIX}{name}"] = (
            _tasks(shape, generator)
            if signature.task and spec.shape == (schema.TASK_NUMBERS,)
            else _values(field, shape, generator)
        )
    return found


def _tasks(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Codes of two tasks: of random ones, no two rows would be of the same."""
    codes = torch.stack([torch.from_numpy(schema.task_code(name)) for name in ("one", "two")])
    return codes[torch.randint(len(codes), shape, generator=generator)]


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


def _check_names(acting: Acting) -> None:
    names = set(acting.graphs)
    plans = {"filter", "imagine"} <= names
    assert names <= {"policy", "filter", "imagine", "propose", "value"}, f"graphs {sorted(names)}"
    assert plans == bool(names - {"policy"}), f"{sorted(names)}: filter and imagine go together"
    assert plans == (acting.planning is not None), "planning settings go with filter and imagine"
    wanted = "policy" in names if acting.kind == "actor" else plans
    assert wanted, f"no graphs for the kind {acting.kind}: {sorted(names)}"


def _outputs(acting: Acting, name: str, space: ActionSpace) -> dict[str, TensorSpec]:
    """What a graph must yield."""
    signature, number = acting.signature, TensorSpec("float32", ())
    found = {f"out_carry_{k}": spec for k, spec in signature.carry.items()}
    extras = {f"out_extra_{k}": spec for k, spec in signature.extras.items()}
    shape = tuple(space.shape or ())
    match name:
        case "policy":
            return {**found, **extras, "out_action": TensorSpec(np.dtype(space.dtype).name, shape)}
        case "filter":
            return found | extras
        case "imagine":
            return {**found, "out_reward": number, "out_continue": number}
        case "propose":
            width = (int(space.n),) if isinstance(space, spaces.Discrete) else shape
            return {"out_action": TensorSpec("float32", width)}
        case _:
            return {"out_value": number}


def _check_specs(name: str, rows: int, outputs: Tensors, wanted: Mapping[str, TensorSpec]) -> None:
    outputs = {k: t for k, t in outputs.items() if k not in SAID}
    assert outputs.keys() == wanted.keys(), (
        f"{name}: expected outputs {sorted(wanted)}, got {sorted(outputs)}"
    )
    for key, spec in wanted.items():
        got = outputs[key]
        assert got.shape == (rows, *spec.shape), f"{name}: {key} is {tuple(got.shape)}, not {spec}"
        assert got.dtype == getattr(torch, spec.dtype), f"{name}: {key} is {got.dtype}, not {spec}"


def _check_said(said: Tensors, space: ActionSpace) -> None:
    """What a policy says of actions is what `robot_client.bundle` allows, for these actions."""
    discrete = isinstance(space, spaces.Discrete)
    allowed = ({"out_q"}, {"out_logits"}) if discrete else ({"out_mean", "out_std"},)
    assert not said or set(said) in allowed, f"policy: says {sorted(said)}"
    width = (int(space.n),) if isinstance(space, spaces.Discrete) else tuple(space.shape or ())
    for key, tensor in said.items():
        assert tensor.shape == (1, *width), f"policy: {key} is {tuple(tensor.shape)}"


def _check_action(name: str, action: torch.Tensor, space: ActionSpace) -> None:
    if name == "policy":
        array = action[0].numpy()
        assert space.contains(array if array.ndim else array[()]), f"{array} is outside {space}"
    elif isinstance(space, spaces.Discrete):
        assert torch.equal(action.sort(-1).values[:, -1], torch.ones(ROWS)), f"{action}: no one-hot"
        assert torch.equal(action.sum(-1), torch.ones(ROWS)), f"{action} is not one-hot"
    else:
        bounded = torch.from_numpy(np.isfinite(space.low) & np.isfinite(space.high))
        assert (action[:, bounded].abs() <= 1).all(), f"{action} is outside -1..1"


def _check_forgets(name: str, graph: Graph, inputs: Tensors) -> None:
    first = {**inputs, "in_is_first": torch.ones(1, dtype=torch.bool)}
    other = dict(first)
    for key in first:
        if key.startswith("in_carry_") or key == "in_prev_action":
            other[key] = torch.zeros_like(first[key])
    why = f"{name}: is_first must reset the carry and the last action"
    _assert_equal(graph(first), graph(other), why)


def _check_rows(name: str, graph: Graph, inputs: Tensors, outputs: Tensors) -> None:
    """A candidate's future does not depend on the others, nor on how many there are."""
    alone = graph({key: tensor[1:2] for key, tensor in inputs.items()})
    for key, tensor in alone.items():
        why = f"{name}: {key} of a row depends on other rows"
        torch.testing.assert_close(tensor, outputs[key][1:2], rtol=1e-4, atol=1e-5, msg=why)


def _assert_equal(a: Tensors, b: Tensors, why: str) -> None:
    for name in a:
        assert torch.equal(a[name], b[name]), f"{why}: {name} differs"
