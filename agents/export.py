"""Export an actor to ONNX, and its weights to safetensors, in the form `robot_client.bundle` fixes.

The graph is exported once per architecture and holds no weights; every version's are put in by name
when the robot builds its session. Three traps of the exporter are closed here, each of which would
act wrongly without an error. Equal tensors are merged (a fresh net has many), so the graph is
exported from a copy with random parameters. What depends on parameters alone is computed and baked
in, so its optimiser stays off; ONNX Runtime has its own. And a parameter that is not in the graph
must have no effect, which is tried.
"""

from __future__ import annotations

import copy
import warnings

import onnx
import safetensors.torch
import torch
from gymnasium import spaces

from agents.agent import Actor, Tensors
from robot_client.schema import ACTION, ActionSpace, Field, row_fields

GRAPH = "policy"
_PREFIX = "actor."  # of the parameters' names in the graph


class ActorExport:
    """An actor's graph, and its weights whenever they are asked for.

    Building it takes seconds: the graph is exported once.

    Args:
        actor: goes on sharing the agent's parameters.
        observation_space, action_space: of the robots.
    """

    def __init__(
        self, actor: Actor, observation_space: spaces.Dict, action_space: ActionSpace
    ) -> None:
        self._actor = actor
        self._twin = copy.deepcopy(actor).cpu()
        inputs = example_inputs(actor, observation_space, action_space, torch.Generator())
        distinct = _randomised(actor)
        model = _export(distinct, inputs)
        parameters = {f"{_PREFIX}{name}" for name in actor.state_dict()}
        self._names = _strip_weights(model, parameters)
        _check_unused(distinct, inputs, parameters - self._names)
        self.graph = model.SerializeToString()
        self._probe = inputs

    def weights(self) -> bytes:
        """The parameters by initialiser name and a probe with its outputs, as safetensors."""
        # On the CPU, as on the robot: a GPU's coarser convolutions would make other choices.
        self._twin.load_state_dict(self._actor.state_dict())
        with torch.no_grad():
            expected = self._twin(self._probe)
        named = {f"{_PREFIX}{name}": t for name, t in self._twin.state_dict().items()}
        tensors = {name: t for name, t in named.items() if name in self._names}
        tensors |= {f"probe/{name}": t for name, t in (self._probe | expected).items()}
        return safetensors.torch.save({k: t.detach().contiguous() for k, t in tensors.items()})


def example_inputs(
    actor: Actor,
    observation_space: spaces.Dict,
    action_space: ActionSpace,
    generator: torch.Generator,
) -> Tensors:
    """Plausible random inputs of one control step, in the graph's order, batch axis 1."""
    fields = row_fields(observation_space, action_space)
    inputs = {
        f"in_{key}": _random(fields[key], generator) for key in sorted(observation_space.spaces)
    }
    for name, spec in actor.signature.carry.items():
        inputs[f"in_carry_{name}"] = _random(Field(spec.dtype, spec.shape), generator)
    inputs["in_prev_action"] = _random(fields[ACTION], generator)
    inputs["in_is_first"] = torch.zeros(1, dtype=torch.bool)
    for name, noise in actor.signature.noise.items():
        inputs[f"in_noise_{name}"] = torch.rand((1, *noise.shape), generator=generator)
    return inputs


def _export(actor: Actor, inputs: Tensors) -> onnx.ModelProto:
    outputs = sorted(actor(inputs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            _Flat(actor, list(inputs)),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=outputs,
            dynamo=True,
            verbose=False,
            optimize=False,
        )
    assert program is not None
    return program.model_proto


class _Flat(torch.nn.Module):
    """The actor with positional inputs, which the exporter names."""

    def __init__(self, actor: Actor, names: list[str]) -> None:
        super().__init__()
        self.actor = actor
        self._names = names

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.actor(dict(zip(self._names, tensors, strict=True)))
        return tuple(tensor for _, tensor in sorted(outputs.items()))


def _randomised(actor: Actor) -> Actor:
    distinct = copy.deepcopy(actor).cpu().eval()
    with torch.no_grad():
        for tensor in distinct.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape) * 0.1 + 0.01)
    return distinct.requires_grad_(False)


def _strip_weights(model: onnx.ModelProto, names: set[str]) -> set[str]:
    """Drop the content of the named initialisers; returns those that there are."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in names & found.keys():
        tensor = found[name]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        del tensor.external_data[:]
        tensor.external_data.add(key="location", value="weights")
    return names & found.keys()


def _check_unused(actor: Actor, inputs: Tensors, names: set[str]) -> None:
    """Parameters that the graph has not must not change what the actor does."""
    expected = actor(inputs)
    with torch.no_grad():
        for name, tensor in actor.state_dict().items():
            if f"{_PREFIX}{name}" in names:
                tensor.add_(1)
    for name, tensor in actor(inputs).items():
        assert torch.equal(tensor, expected[name]), f"the exporter lost one of {sorted(names)}"


def _random(field: Field, generator: torch.Generator) -> torch.Tensor:
    shape, dtype = (1, *field.shape), getattr(torch, field.dtype)
    if field.dtype == "bool":
        return torch.zeros(shape, dtype=dtype)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(0, field.n or 256, shape, generator=generator).to(dtype)
