"""A3C (Mnih et al. 2016, "Asynchronous methods for deep reinforcement learning"): advantage
actor-critic on n-step returns, with a bonus for entropy. The fleet's robots are the workers.

The paper's workers each compute gradients and write them into shared weights without locks. Here
robots only act; one learner computes the gradients of several rollouts at once (A2C, which comes to
the same results and is what a server with one GPU can do), and what the paper bears with, that a
worker's weights are somewhat old, is weighed by V-trace. On data of the present policy this is A3C
to the letter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from pydantic import Field
from torch import nn

from agents.agent import Acting, Actor, Tensors
from agents.blocks.memory import Memory, reset
from agents.blocks.nets import RELU, Dense
from agents.blocks.observe import Features, part
from agents.blocks.off_policy import Widths
from agents.blocks.on_policy import BEHAVIOUR, ActionHead, OnPolicyAgent, OnPolicyConfig, Opinion
from agents.blocks.policies import told
from agents.blocks.stacks import stack
from robot_client.bundle import Signature, TensorSpec
from robot_client.schema import EXTRA_PREFIX, IS_FIRST

_MEMORY = "memory"


class A3CConfig(OnPolicyConfig):
    """Defaults are the paper's, with Adam in the place of RMSProp, and clipping and 16 workers as
    the synchronous form has them."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {
            "widths": (64, 64),
            "batch_size": 1,
            "n_step": 32,
            "learning_rate": 3e-3,
            "value_scale": 0.1,
            "discount": 0.98,
            "entropy": 0.003,
        },
        "lstm": {"cells": 256},
    }

    widths: Widths = Field((256,), description="Hidden layers, after an image's convolutions.")
    cells: int = Field(0, ge=0, le=4096, description="Of an LSTM after them; 0: it has no memory.")


class ActorCritic(nn.Module):
    """Observations -> the raw output of the actor's head, and the value; with memory or without."""

    def __init__(self, seen: spaces.Dict, outputs: int, config: A3CConfig) -> None:
        super().__init__()
        self.features = Features(seen)
        self.trunk = stack(self.features.width, config.widths)
        width = [self.features.width, *config.widths][-1]
        self.memory = Memory(width, config.cells) if config.cells else None
        width = config.cells or width
        self.actor = Dense(width, outputs, norm=False, act=False, outscale=0.01, style=RELU)
        self.critic = Dense(width, 1, norm=False, act=False, style=RELU)

    def see(self, obs: Tensors) -> torch.Tensor:
        """Observations (B, ...) by key, and perhaps others -> (B, W)."""
        x: torch.Tensor = self.trunk(self.features(obs))
        return x

    def judge(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What it has seen and remembered (..., W) -> raw (..., outputs) and value (...)."""
        return self.actor(x), self.critic(x)[..., 0]


class A3C(OnPolicyAgent):
    """Learns a policy and its value from the fleet's newest rollouts (A3C with V-trace)."""

    config_type = A3CConfig
    accepts = ("continuous", "discrete", "vectors", "images")
    config: A3CConfig

    def _build(self, seen: spaces.Dict) -> None:
        self.net = ActorCritic(seen, self.head.width, self.config).to(self.device)
        self.optimizers = {"net": self._adam(self.net)}

    def acting(self) -> Acting:
        """The actor; its own distribution explores."""
        policy = ActorCriticPolicy(self.net, self.head)
        return Acting(policy.signature, {"policy": policy})

    def opinion(self, batch: Tensors) -> Opinion:
        """Rows (B, T + 1); where there is memory, from what it held when the first one came."""
        shape = batch[IS_FIRST].shape
        flat = {k: batch[k].flatten(0, 1) for k in self.net.features.keys}
        x = self.net.see(flat).reshape(*shape, -1)
        if self.net.memory is not None:
            held = batch[EXTRA_PREFIX + _MEMORY][:, 0]
            x = self.net.memory.unroll(x, batch[IS_FIRST], held)
        return Opinion(*self.net.judge(x), losses={})

    def _kept(self) -> Mapping[str, Any]:
        return {"net": self.net, "optimizer": self.optimizers["net"]}


class ActorCriticPolicy(Actor):
    """One control step. It writes down what it thought, and what it remembered before."""

    def __init__(self, net: ActorCritic, head: ActionHead) -> None:
        super().__init__()
        self.net, self.head = net, head
        memory = net.memory
        held = {} if memory is None else {_MEMORY: TensorSpec("float32", (2 * memory.cells,))}
        self.signature = Signature(
            carry=held, noise={"action": head.noise}, extras={BEHAVIOUR: head.spec, **held}
        )

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        x, outputs = self.net.see(part(inputs, "in_")), {}
        if self.net.memory is not None:
            held = reset(inputs["in_carry_memory"], inputs["in_is_first"])
            state = self.net.memory(x, held)
            outputs = {"out_extra_memory": held, "out_carry_memory": state}
            x = state[:, : self.net.memory.cells]
        raw, _ = self.net.judge(x)
        outputs |= told(self.head(raw))
        action = self.head.draw(raw, inputs["in_noise_action"])
        return {"out_action": action, "out_extra_behaviour": raw, **outputs}
