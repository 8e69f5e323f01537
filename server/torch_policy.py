"""An agent's graphs as a robot's, without export: what lockstep runs act with."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray

from agents.agent import Acting
from robot_client.bundle import Manifest
from robot_client.messages import PolicyReport
from robot_client.ports import Arrays, Policy


class TorchGraphs:
    """Runs like `robot_client.policy.OnnxGraphs`, always with the agent's present parameters.

    Args:
        acting: shares the agent's parameters.
        device: where the graphs are.
    """

    def __init__(self, acting: Acting, device: torch.device) -> None:
        self._graphs, self._device = acting.graphs, device

    def run(self, name: str, feed: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs of a graph by name, from inputs by name."""
        inputs = {k: torch.from_numpy(v).to(self._device) for k, v in feed.items()}
        with torch.no_grad():
            outputs = self._graphs[name](inputs)
        return {name: tensor.cpu().numpy() for name, tensor in outputs.items()}


class OnePolicy:
    """A policy source that offers one policy, once."""

    def __init__(self, policy: Policy) -> None:
        self._policy: Policy | None = policy

    def take(self) -> Policy | None:
        """The policy, the first time."""
        policy, self._policy = self._policy, None
        return policy

    def reports(self) -> list[PolicyReport]:
        """There is nothing to report."""
        return []


def live_manifest(acting: Acting, experiment: str, agent: str) -> Manifest:
    """A manifest for a policy that never travels: version 0 and no blobs."""
    none = "0" * 64
    return Manifest(
        experiment=experiment,
        agent=agent,
        version=0,
        kind=acting.kind,
        graphs=dict.fromkeys(acting.graphs, none),
        weights=none,
        sizes={},
        observation_space=none,
        action_space=none,
        signature=acting.signature,
        planning=acting.planning,
    )
