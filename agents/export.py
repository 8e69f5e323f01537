"""Export what acts to ONNX, and its weights to safetensors, as `robot_client.bundle` fixes it.

Each graph is exported once per architecture and holds no weights; every version's are put in by
name when the robot builds its sessions, and one that several graphs have travels once. Three traps
of the exporter are closed here, each of which would act wrongly without an error. Equal tensors are
merged (a fresh net has many), so graphs are exported from copies with random parameters. What
depends on parameters alone is computed and baked in, so its optimiser stays off; ONNX Runtime has
its own. And a parameter that is not in the graph must have no effect, which is tried.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import safetensors.torch
import torch
from gymnasium import spaces

from agents.agent import Acting, Graph, Tensors
from robot_client.bundle import NoiseSpec, Planning
from robot_client.schema import ACTION, TASK_NUMBERS, ActionSpace, Field, row_fields

ROWS = 3  # of the examples of graphs that take any number N of rows
_BATCHED = ("imagine", "propose", "value")
_PREFIX = "actor."  # of the parameters' names in the graphs


@dataclass(frozen=True)
class Exported:
    """Graphs without weights, by name, and the names of the weights that go into them."""

    graphs: Mapping[str, bytes]
    weights: frozenset[str]


class ActingExport:
    """The graphs that act, and their weights whenever they are asked for.

    Building it takes seconds a graph, unless they are there: each is exported once.

    Args:
        acting: goes on sharing the agent's parameters.
        observation_space, action_space: of the robots.
        exported: what came of it before, of the same code and settings.
    """

    def __init__(
        self,
        acting: Acting,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        exported: Exported | None = None,
    ) -> None:
        self._acting = acting
        _shared_state(acting.graphs)
        self._twins = {k: g.cpu() for k, g in copy.deepcopy(dict(acting.graphs)).items()}
        seen = observation_space, action_space
        self._probes = {
            name: example_inputs(acting, name, *seen, torch.Generator()) for name in acting.graphs
        }
        self.exported = exported or _exported(acting.graphs, self._probes)

    @property
    def graphs(self) -> Mapping[str, bytes]:
        """As ONNX, by name."""
        return self.exported.graphs

    def weights(self) -> bytes:
        """The parameters by initialiser name and each graph's probe, as safetensors."""
        tensors: Tensors = {}
        for name, twin in self._twins.items():
            # On the CPU, as on the robot: a GPU's coarser convolutions would make other choices.
            twin.load_state_dict(self._acting.graphs[name].state_dict())
            with torch.no_grad():
                probe = self._probes[name] | twin(self._probes[name])
            tensors |= {f"probe/{name}/{key}": tensor for key, tensor in probe.items()}
        named = {f"{_PREFIX}{key}": t for key, t in _shared_state(self._twins).items()}
        tensors |= {name: t for name, t in named.items() if name in self.exported.weights}
        return safetensors.torch.save({k: t.detach().contiguous() for k, t in tensors.items()})


def example_inputs(
    acting: Acting,
    graph: str,
    observation_space: spaces.Dict,
    action_space: ActionSpace,
    generator: torch.Generator,
    rows: int = ROWS,
) -> Tensors:
    """Plausible random inputs of a graph, in its order: `rows` of them where N is free, else 1."""
    rows = rows if graph in _BATCHED else 1
    fields = row_fields(observation_space, action_space)
    inputs: Tensors = {}
    if graph not in _BATCHED:
        names = sorted(observation_space.spaces)
        inputs |= {f"in_{key}": _random(fields[key], rows, generator) for key in names}
    for name, spec in acting.signature.carry.items():
        inputs[f"in_carry_{name}"] = _random(Field(spec.dtype, spec.shape), rows, generator)
    if graph == "imagine":
        inputs["in_action"] = _model_action(action_space, rows, generator)
    elif graph not in _BATCHED:
        inputs["in_prev_action"] = _random(fields[ACTION], rows, generator)
        inputs["in_is_first"] = torch.zeros(rows, dtype=torch.bool)
        if acting.signature.task:
            inputs["in_task_code"] = torch.rand((rows, TASK_NUMBERS), generator=generator)
    for name, noise in graph_noise(acting, graph).items():
        inputs[f"in_noise_{name}"] = torch.rand((rows, *noise.shape), generator=generator)
    return inputs


def graph_noise(acting: Acting, graph: str) -> Mapping[str, NoiseSpec]:
    """The random inputs of a graph."""
    signature, planning = acting.signature, acting.planning or Planning()
    return {
        "policy": signature.noise,
        "filter": {k: spec for k, spec in signature.noise.items() if not spec.acts},
        "imagine": planning.noise,
        "propose": planning.proposal_noise,
        "value": {},
    }[graph]


def _model_action(space: ActionSpace, rows: int, generator: torch.Generator) -> torch.Tensor:
    """(N, A) in the model's scale: -1..1, or one-hot."""
    if isinstance(space, spaces.Discrete):
        width = int(space.n)
        return torch.eye(width)[torch.randint(0, width, (rows,), generator=generator)]
    return torch.rand((rows, *space.shape), generator=generator) * 2 - 1


def _shared_state(graphs: Mapping[str, Graph]) -> Tensors:
    """All graphs' parameters and buffers by name; those of one name must be one tensor."""
    found: Tensors = {}
    for graph, module in graphs.items():
        for name, tensor in module.state_dict().items():
            first = found.setdefault(name, tensor)
            same = first.data_ptr() == tensor.data_ptr() and first.shape == tensor.shape
            assert same, f"{name} of the graph {graph} is another tensor in another graph"
    return found


def _exported(graphs: Mapping[str, Graph], inputs: Mapping[str, Tensors]) -> Exported:
    found: dict[str, bytes] = {}
    names: set[str] = set()
    for name, graph in graphs.items():
        distinct = _randomised(graph)
        model = _export(distinct, inputs[name], name in _BATCHED)
        parameters = {f"{_PREFIX}{key}" for key in graph.state_dict()}
        used = _strip_weights(model, parameters)
        _check_unused(distinct, inputs[name], parameters - used)
        found[name] = model.SerializeToString()
        names |= used
    return Exported(found, frozenset(names))


def _export(graph: Graph, inputs: Tensors, batched: bool) -> onnx.ModelProto:
    outputs = sorted(graph(inputs))
    rows = {0: torch.export.Dim("rows", min=1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            _Flat(graph, list(inputs)),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=(tuple(rows for _ in inputs),) if batched else None,
            dynamo=True,
            verbose=False,
            optimize=False,
        )
    assert program is not None
    return program.model_proto


class _Flat(torch.nn.Module):
    """The graph with positional inputs, which the exporter names."""

    def __init__(self, graph: Graph, names: list[str]) -> None:
        super().__init__()
        self.actor = graph  # gives the parameters their prefix
        self._names = names

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.actor(dict(zip(self._names, tensors, strict=True)))
        return tuple(tensor for _, tensor in sorted(outputs.items()))


def _randomised(graph: Graph) -> Graph:
    distinct = copy.deepcopy(graph).cpu().eval()
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


def _check_unused(graph: Graph, inputs: Tensors, names: set[str]) -> None:
    """Parameters that the exported graph has not must not change what the module does."""
    expected = graph(inputs)
    with torch.no_grad():
        for name, tensor in graph.state_dict().items():
            if f"{_PREFIX}{name}" in names:
                tensor.add_(1)
    for name, tensor in graph(inputs).items():
        assert torch.equal(tensor, expected[name]), f"the exporter lost one of {sorted(names)}"


def _random(field: Field, rows: int, generator: torch.Generator) -> torch.Tensor:
    shape, dtype = (rows, *field.shape), getattr(torch, field.dtype)
    if field.dtype == "bool":
        return torch.zeros(shape, dtype=dtype)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(0, field.n or 256, shape, generator=generator).to(dtype)
