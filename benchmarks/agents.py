"""The agents that are measured; apart from the workload, so that its clients load no torch."""

from typing import Any

import torch

from agents.dreamer import Dreamer, DreamerConfig
from benchmarks.workload import ACTIONS, SPACES


def dreamer(observations: str, device: str = "cpu", **config: Any) -> Dreamer:
    """A fresh Dreamer of the reference's settings, seeded; `observations` names one of SPACES."""
    torch.manual_seed(0)
    return Dreamer(SPACES[observations], ACTIONS, DreamerConfig(**config), torch.device(device))
