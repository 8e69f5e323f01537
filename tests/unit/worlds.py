"""Small agents with a world model, one of each generation, and what moves when they learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from agents.agent import Tensors
from agents.blocks.dists import Latent
from agents.registry import agent_class
from agents.testing import random_batch
from agents.world.agent import WorldAgent
from agents.world.kl import DynRepKL

VECTOR = spaces.Dict({"vector": spaces.Box(-1, 1, (3,), np.float32)})
BOX = spaces.Box(-1, 1, (2,), np.float32)
DISCRETE = spaces.Discrete(3)
ACTORS = ("daydreamer", "dreamer", "dreamer-v1", "dreamer-v2")
WORLDS = (*ACTORS, "planet")


def kl_losses(posterior: Latent, prior: Latent, floor: float = 1.0) -> Any:
    """What DreamerV3's divergence costs, unweighted: dyn and rep."""
    losses = DynRepKL(1.0, 1.0, floor)(posterior, prior).losses
    return losses["dyn"], losses["rep"]


def make(
    name: str,
    action: Any = BOX,
    space: spaces.Dict = VECTOR,
    device: str = "cpu",
    **config: Any,
) -> WorldAgent:
    """The agent `name`, tiny, always with the same seed."""
    small = {"size": "tiny", "batch_size": 2, "batch_length": 6} | config
    if name in ACTORS:
        small = {"horizon": 3} | small
    if name == "dreamer":
        small = {"warmup": 1} | small
    torch.manual_seed(0)
    cls = agent_class(name)
    agent = cls(space, action, cls.config_type.model_validate(small), torch.device(device))
    assert isinstance(agent, WorldAgent)
    return agent


def batch_of(agent: WorldAgent, action: Any = BOX, space: spaces.Dict = VECTOR) -> Tensors:
    """Random rows, always the same."""
    return random_batch(agent, space, action, torch.Generator().manual_seed(1))


def rates(name: str, rate: float) -> dict[str, float]:
    """The fields of a configuration that make everything learn at one rate."""
    if name in ("planet", "dreamer"):
        return {"learning_rate": rate}
    return dict.fromkeys(("learning_rate", "actor_learning_rate", "value_learning_rate"), rate)


def moved(module: nn.Module | None) -> set[str]:
    """The children whose parameters a backward pass has given a gradient other than zero."""
    if module is None:
        return set()
    named = module.named_parameters()
    return {n.split(".")[0] for n, p in named if p.grad is not None and p.grad.any()}


def losses_of(agent: WorldAgent, batch: Tensors) -> Tensors:
    """Every loss of an update, by name, as `WorldAgent.losses` adds them up."""
    noise = agent.draw(*batch["reward"].shape)
    states = agent.world.filter(batch, noise.posterior)
    losses, _ = agent.world.losses(batch, states)
    if agent.behaviour is not None:
        losses |= agent._behaviour_losses(agent.behaviour, batch, states, noise)[0]
    return losses
