"""One filtering step as the robot runs it."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
from gymnasium import spaces

from agents.blocks.actions import ActionCodec
from agents.world.encoder import Encoder
from agents.world.heads import policy_head
from agents.world.rssm import RSSM, Carry, features
from agents.world.sizes import SIZES

OBSERVATION = spaces.Dict(
    camera=spaces.Box(0, 255, (16, 16, 3), np.uint8),
    gear=spaces.Discrete(3),
    joints=spaces.Box(-np.inf, np.inf, (4,), np.float32),
)
ACTIONS = {
    "continuous": spaces.Box(-2, 2, (3,), np.float32),
    "discrete": spaces.Discrete(5),
}
SIZE = SIZES["tiny"]
NAMES = ["camera", "gear", "joints", "deter", "stoch", "prev_action", "is_first", "noise", "eps"]


class Step(torch.nn.Module):
    def __init__(self, action_space):
        super().__init__()
        self.encoder = Encoder(OBSERVATION, SIZE)
        self.codec = ActionCodec(action_space)
        self.rssm = RSSM(self.encoder.width, self.codec.width, SIZE)
        self.policy = policy_head(SIZE.features, SIZE.units, action_space)

    def forward(self, camera, gear, joints, deter, stoch, prev_action, is_first, noise, eps):
        token = self.encoder({"camera": camera, "gear": gear, "joints": joints})
        prev = self.codec.encode(prev_action)
        carry, _ = self.rssm.step(token, prev, is_first, Carry(deter, stoch), noise)
        action = self.policy(features(*carry)).sample(eps)
        return action if self.codec.discrete else self.codec.decode(action), *carry


def inputs(action_space):
    obs = {
        key: torch.from_numpy(np.asarray(OBSERVATION[key].sample())[None]) for key in OBSERVATION
    }
    carry = torch.randn(1, SIZE.deter), torch.rand(1, SIZE.stoch, SIZE.classes)
    prev = torch.from_numpy(np.asarray(action_space.sample())[None])
    noise = torch.randn(1, SIZE.stoch, SIZE.classes)
    eps = torch.randn(1, ActionCodec(action_space).width)
    return (*obs.values(), *carry, prev, torch.tensor([False]), noise, eps)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", ACTIONS)
def test_the_exported_step_equals_torch(kind, tmp_path):
    torch.manual_seed(0)
    model = Step(ACTIONS[kind]).eval()
    program = torch.onnx.export(
        model, inputs(ACTIONS[kind]), input_names=NAMES, dynamo=True, verbose=False
    )
    program.save(tmp_path / "step.onnx")
    session = ort.InferenceSession(tmp_path / "step.onnx", providers=["CPUExecutionProvider"])
    for first in (False, True):
        given = list(inputs(ACTIONS[kind]))
        given[6] = torch.tensor([first])
        feed = {name: x.numpy() for name, x in zip(NAMES, given, strict=True)}
        with torch.no_grad():
            wanted = model(*given)
        for got, want in zip(session.run(None, feed), wanted, strict=True):
            np.testing.assert_allclose(got, want.numpy(), rtol=1e-4, atol=1e-5)
