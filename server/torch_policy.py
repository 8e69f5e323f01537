"""An agent's actor as a robot's policy, without export: what lockstep runs act with."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray

from agents.agent import Acting
from robot_client.actor_policy import ActorPolicy
from robot_client.bundle import Manifest
from robot_client.messages import PolicyReport
from robot_client.ports import Arrays
from robot_client.robot import Action


class TorchPolicy(ActorPolicy):
    """Acts like `robot_client.policy.OnnxPolicy`, always with the agent's present parameters.

    Args:
        acting: shares the agent's parameters.
        manifest: names the experiment; its signature is that of `acting`.
        blank_action: zeros in the form of the robot's action.
        device: where the graphs are.
    """

    def __init__(
        self, acting: Acting, manifest: Manifest, blank_action: Action, device: torch.device
    ) -> None:
        super().__init__(manifest)
        self._policy = acting.graphs["policy"]
        self._blank, self._device = blank_action, device

    def blank_action(self) -> Action:
        """Zeros in the form of the action."""
        return self._blank

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name, from inputs by name."""
        with torch.no_grad():
            outputs = self._policy(
                {k: torch.from_numpy(v).to(self._device) for k, v in feed.items()}
            )
        return {name: tensor.cpu().numpy() for name, tensor in outputs.items()}


class OnePolicy:
    """A policy source that offers one policy, once."""

    def __init__(self, policy: TorchPolicy) -> None:
        self._policy: TorchPolicy | None = policy

    def take(self) -> TorchPolicy | None:
        """The policy, the first time."""
        policy, self._policy = self._policy, None
        return policy

    def reports(self) -> list[PolicyReport]:
        """There is nothing to report."""
        return []


def live_manifest(acting: Acting, experiment: str, agent: str) -> Manifest:
    """A manifest for a policy that never travels: version 0 and no blobs."""
    none = "0" * 64
    graphs = dict.fromkeys(acting.graphs, none)
    return Manifest(
        experiment,
        agent,
        0,
        acting.kind,
        graphs,
        none,
        {},
        none,
        none,
        acting.signature,
        planning=acting.planning,
    )
