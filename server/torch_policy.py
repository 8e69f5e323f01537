"""An agent's actor as a robot's policy, without export: what lockstep runs act with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.agent import Actor
from robot_client.bundle import Manifest
from robot_client.messages import PolicyReport
from robot_client.ports import Carry
from robot_client.robot import Action
from robot_client.schema import Source


class TorchPolicy:
    """Acts like `robot_client.policy.OnnxPolicy`, always with the agent's present parameters.

    Args:
        actor: shares the agent's parameters.
        manifest: names the experiment; its signature is the actor's.
        blank_action: zeros in the form of the robot's action.
        device: where the actor is.
    """

    def __init__(
        self, actor: Actor, manifest: Manifest, blank_action: Action, device: torch.device
    ) -> None:
        self.manifest = manifest
        self.source = Source.POLICY
        self._actor, self._blank, self._device = actor, blank_action, device

    def init(self) -> Carry:
        """A carry of zeros, for the first step of an episode."""
        state = {k: spec.zeros() for k, spec in self.manifest.signature.carry.items()}
        return Carry(state, self._blank)

    def blank_extras(self) -> dict[str, NDArray[Any]]:
        """Zeros in the form of the extras."""
        return {k: spec.zeros()[0] for k, spec in self.manifest.signature.extras.items()}

    def step(
        self,
        carry: Carry,
        obs: Mapping[str, NDArray[Any]],
        is_first: bool,
        rng: np.random.Generator,
        explore: bool,
    ) -> tuple[Action, Carry, dict[str, NDArray[Any]]]:
        """Choose an action; see `OnnxPolicy.step`."""
        signature = self.manifest.signature
        feed = {f"in_{k}": np.asarray(v)[None] for k, v in obs.items()}
        feed |= {f"in_carry_{k}": v for k, v in carry.state.items()}
        feed |= {"in_prev_action": carry.prev_action[None], "in_is_first": np.array([is_first])}
        for name, noise in signature.noise.items():
            drawn = noise.sample(rng)
            feed[f"in_noise_{name}"] = drawn if explore or not noise.acts else np.zeros_like(drawn)
        out = self._run(feed)
        action = out["out_action"][0]
        state = {k: out[f"out_carry_{k}"] for k in signature.carry}
        return action, Carry(state, action), {k: out[f"out_extra_{k}"][0] for k in signature.extras}

    def _run(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with torch.no_grad():
            outputs = self._actor(
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


def live_manifest(actor: Actor, experiment: str, agent: str) -> Manifest:
    """A manifest for a policy that never travels: version 0 and no blobs."""
    none = "0" * 64
    return Manifest(experiment, agent, 0, "actor", {}, none, {}, none, none, actor.signature)
