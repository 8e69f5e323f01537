"""Every registered agent keeps every promise of `agents.agent`, on every kind of space it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from gymnasium import spaces

from agents.agent import Agent, AgentConfig
from agents.export import ActorExport, example_inputs
from agents.registry import AGENTS, agent_class
from agents.testing import check_agent
from robot_client.bundle import read_safetensors

VECTOR = spaces.Dict({"vector": spaces.Box(-1, 1, (4,), np.float32)})
CAMERA = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (16, 16, 3), np.uint8),
        "depth": spaces.Box(0, 255, (16, 16, 1), np.uint8),
        "mode": spaces.Discrete(3),
        "vector": spaces.Box(-np.inf, np.inf, (2, 2), np.float32),
    }
)
BOX = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32))
DISCRETE = spaces.Discrete(3)
SPACES = {
    "vector-box": (VECTOR, BOX),
    "vector-discrete": (VECTOR, DISCRETE),
    "fusion-box": (CAMERA, BOX),
}
SMALL: dict[str, dict[str, Any]] = {
    "dreamer": {"size": "tiny", "batch_size": 2, "batch_length": 8, "horizon": 3},
    "random": {},
}
BOTH = pytest.mark.parametrize("kind", SPACES)
ALL = pytest.mark.parametrize("name", AGENTS)


def build(name: str, kind: str) -> Agent:
    cls = agent_class(name)
    config: AgentConfig = cls.config_type.model_validate(SMALL[name])
    torch.manual_seed(0)
    return cls(*SPACES[kind], config, torch.device("cpu"))


def test_every_agent_has_a_small_configuration() -> None:
    assert SMALL.keys() == AGENTS.keys()


@ALL
@BOTH
def test_contract(name: str, kind: str) -> None:
    check_agent(lambda: build(name, kind), *SPACES[kind])


@ALL
def test_every_field_of_the_configuration_is_documented(name: str) -> None:
    for field, about in agent_class(name).config_type.model_fields.items():
        assert about.description, f"{name}.{field} has no description"


@ALL
@BOTH
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_exported_actor_acts_as_torch_does(name: str, kind: str) -> None:
    agent = build(name, kind)
    actor = agent.actor()
    export = ActorExport(actor, *SPACES[kind])
    before = [t.clone() for t in actor.state_dict().values()]
    with torch.no_grad():  # what the graph was exported with must not matter
        for tensor in actor.state_dict().values():
            tensor.add_(torch.randn(tensor.shape) * 0.05)
    assert all(
        not torch.equal(a, b) for a, b in zip(before, actor.state_dict().values(), strict=True)
    )
    tensors = read_safetensors(export.weights())
    session = _session(
        export.graph, {k: v for k, v in tensors.items() if not k.startswith("probe/")}
    )
    names = {i.name for i in session.get_inputs()}
    for seed in range(20):
        inputs = example_inputs(actor, *SPACES[kind], torch.Generator().manual_seed(seed))
        feed = {k: t.numpy() for k, t in inputs.items() if k in names}
        found = session.run(None, feed)
        with torch.no_grad():
            expected = actor(inputs)
        for output, array in zip(session.get_outputs(), found, strict=True):
            np.testing.assert_allclose(
                array, expected[output.name].numpy(), rtol=2e-4, atol=2e-5, err_msg=output.name
            )


def _session(graph: bytes, weights: dict[str, Any]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    values = {k: ort.OrtValue.ortvalue_from_numpy(np.array(v)) for k, v in weights.items()}
    if values:
        options.add_external_initializers(list(values), list(values.values()))
    return ort.InferenceSession(graph, options)
