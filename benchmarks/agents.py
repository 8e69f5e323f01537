"""The agents that are measured; apart from the workload, so that its clients load no torch."""

from typing import Any, cast

import torch

from agents.agent import Agent
from agents.dreamer import Dreamer
from agents.registry import agent_class
from benchmarks.workload import ACTIONS, SPACES


def build(
    name: str, observations: str, device: str = "cpu", preset: str = "", **config: Any
) -> Agent:
    """A fresh agent of its paper's settings or of a preset, seeded.

    Args:
        name: as registered.
        observations: one of SPACES.
        device: where it learns.
        preset: one of its own, or none.
        config: fields that replace those.
    """
    cls = agent_class(name)
    given = dict(cls.config_type.presets[preset] if preset else {}) | config
    torch.manual_seed(0)
    made = cls.config_type.model_validate(given)
    return cls(SPACES[observations], ACTIONS, made, torch.device(device))


def dreamer(observations: str, device: str = "cpu", **config: Any) -> Dreamer:
    """A fresh Dreamer of the reference's settings, seeded."""
    return cast(Dreamer, build("dreamer", observations, device, **config))
