"""What travels with a policy's weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium import spaces

from agents.agent import Acting, Actor, Tensors
from agents.export import ActingExport
from agents.testing import check_acting
from robot_client.bundle import Signature
from robot_client.schema import ActionSpace
from tests.unit.planning_agent import OBSERVED, acting

SPACE = spaces.Dict({"x": spaces.Box(-1, 1, (2,), np.float32)})
ACTIONS = spaces.Box(-1, 1, (2,), np.float32)


class Scaled(Actor):
    """Acts as a parameter says, in ways that depend on the device that its buffer is on."""

    offset: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.signature = Signature()
        self.gain = torch.nn.Parameter(torch.ones(2))
        self.register_buffer("offset", torch.zeros(2), persistent=False)

    def forward(self, inputs: Tensors) -> Tensors:
        return {"out_action": inputs["in_x"] * self.gain + self.offset}


def test_the_probe_is_answered_by_a_copy_with_the_weights_of_now() -> None:
    actor = Scaled()
    export = ActingExport(Acting(actor.signature, {"policy": actor}), SPACE, ACTIONS)
    actor.forward = None  # type: ignore[assignment,method-assign] - the agent's may be on a GPU
    with torch.no_grad():
        actor.gain.fill_(3.0)
    tensors = safetensors.torch.load(export.weights())
    torch.testing.assert_close(tensors["probe/policy/out_action"], tensors["probe/policy/in_x"] * 3)
    torch.testing.assert_close(tensors["actor.gain"], torch.full((2,), 3.0))


@pytest.mark.parametrize("space", [ACTIONS, spaces.Discrete(3)], ids=["box", "discrete"])
def test_a_model_with_all_graphs_keeps_the_contract(space: ActionSpace) -> None:
    check_acting(acting(space), OBSERVED, space)


def test_a_shared_parameter_travels_once() -> None:
    model = acting(ACTIONS)
    tensors = safetensors.torch.load(ActingExport(model, OBSERVED, ACTIONS).weights())
    names = {k for k in tensors if not k.startswith("probe/")}
    assert names == {f"actor.{k}" for k in model.graphs["policy"].state_dict()}
    assert {k.split("/")[1] for k in tensors if k.startswith("probe/")} == set(model.graphs)


def test_equal_names_must_be_one_tensor() -> None:
    model = acting(ACTIONS)
    model = replace(model, graphs={**model.graphs, "value": acting(ACTIONS).graphs["value"]})
    with pytest.raises(AssertionError, match=r"core\.encoder\.weight of the graph value"):
        ActingExport(model, OBSERVED, ACTIONS)


@pytest.mark.parametrize(
    ("drop", "why"), [("filter", "go together"), ("imagine", "go together"), ("policy", "actor")]
)
def test_graphs_that_miss_another_are_refused(drop: str, why: str) -> None:
    model = acting(ACTIONS)
    graphs = {k: g for k, g in model.graphs.items() if k != drop}
    with pytest.raises(AssertionError, match=why):
        check_acting(replace(model, graphs=graphs), OBSERVED, ACTIONS)
