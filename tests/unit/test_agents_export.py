"""What travels with a policy's weights."""

from __future__ import annotations

import numpy as np
import safetensors.torch
import torch
from gymnasium import spaces

from agents.agent import Actor, Tensors
from agents.export import ActorExport
from robot_client.bundle import Signature

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
    export = ActorExport(actor, SPACE, ACTIONS)
    actor.forward = None  # type: ignore[assignment,method-assign] - the agent's may be on a GPU
    with torch.no_grad():
        actor.gain.fill_(3.0)
    tensors = safetensors.torch.load(export.weights())
    torch.testing.assert_close(tensors["probe/out_action"], tensors["probe/in_x"] * 3)
    torch.testing.assert_close(tensors["actor.gain"], torch.full((2,), 3.0))
