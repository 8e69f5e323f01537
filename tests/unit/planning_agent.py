"""A small world model with all five graphs, and a policy of its own."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.agent import Acting, Graph, Tensors
from agents.blocks.actions import ActionCodec
from robot_client.bundle import NoiseSpec, Planning, PlanSettings, Signature, TensorSpec
from robot_client.schema import ActionSpace

OBSERVED = spaces.Dict({"vector": spaces.Box(-10.0, 10.0, (3,), np.float32)})
WIDTH = 8


class Core(nn.Module):
    """What the graphs share."""

    def __init__(self, space: ActionSpace) -> None:
        super().__init__()
        self.codec = ActionCodec(space)
        self.encoder = nn.Linear(3, WIDTH)
        self.cell = nn.GRUCell(WIDTH + self.codec.width, WIDTH)
        self.actor = nn.Linear(WIDTH, self.codec.width)
        self.heads = nn.Linear(WIDTH, 3)


class Part(Graph):
    """A graph of the core."""

    def __init__(self, core: Core) -> None:
        super().__init__()
        self.core = core

    def filtered(self, inputs: Tensors) -> Tensors:
        keep = (~inputs["in_is_first"]).float().unsqueeze(-1)
        seen = self.core.encoder(inputs["in_vector"])
        before = keep * self.core.codec.encode(inputs["in_prev_action"])
        h = self.core.cell(torch.cat([seen, before], -1), keep * inputs["in_carry_h"])
        h = h + 0.1 * inputs["in_noise_latent"]
        return {"out_carry_h": h, "out_extra_h": h.half()}

    def proposed(self, h: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        action = self.core.actor(h)
        if self.core.codec.discrete:
            return F.one_hot((action + noise).argmax(-1), action.shape[-1]).float()
        return torch.tanh(action + noise)


class Policy(Part):
    def forward(self, inputs: Tensors) -> Tensors:
        found = self.filtered(inputs)
        action = self.proposed(found["out_carry_h"], inputs["in_noise_action"])
        return {"out_action": self.core.codec.decode(action), **found}


class Filter(Part):
    def forward(self, inputs: Tensors) -> Tensors:
        return self.filtered(inputs)


class Imagine(Part):
    def forward(self, inputs: Tensors) -> Tensors:
        seen = self.core.encoder(0.1 * inputs["in_noise_latent"][..., :3])
        h = self.core.cell(torch.cat([seen, inputs["in_action"]], -1), inputs["in_carry_h"])
        heads = self.core.heads(h)
        return {
            "out_carry_h": h,
            "out_reward": heads[:, 0],
            "out_continue": torch.sigmoid(heads[:, 1]),
        }


class Propose(Part):
    def forward(self, inputs: Tensors) -> Tensors:
        return {"out_action": self.proposed(inputs["in_carry_h"], inputs["in_noise_action"])}


class Value(Part):
    def forward(self, inputs: Tensors) -> Tensors:
        return {"out_value": self.core.heads(inputs["in_carry_h"])[:, 2]}


def acting(space: ActionSpace, **settings: object) -> Acting:
    """With random weights."""
    core = Core(space)
    kind = "gumbel" if isinstance(space, spaces.Discrete) else "normal"
    action = NoiseSpec((core.codec.width,), kind, acts=True)
    latent = NoiseSpec((WIDTH,), "normal", acts=False)
    return Acting(
        Signature(
            carry={"h": TensorSpec("float32", (WIDTH,))},
            noise={"latent": latent, "action": action},
            extras={"h": TensorSpec("float16", (WIDTH,))},
        ),
        {
            "policy": Policy(core),
            "filter": Filter(core),
            "imagine": Imagine(core),
            "propose": Propose(core),
            "value": Value(core),
        },
        Planning({"latent": latent}, {"action": action}, 0.97, PlanSettings(**settings)),  # type: ignore[arg-type]
    )
