"""One control step through an actor's named tensors, whatever computes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.bundle import Manifest
from robot_client.ports import Arrays, Carry
from robot_client.robot import Action
from robot_client.schema import Source


class ActorPolicy(ABC):
    """A policy whose inputs and outputs are named as `robot_client.bundle.Signature` says.

    Args:
        manifest: its signature lists carry, noise and extras.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.source = Source.RANDOM if manifest.agent == "random" else Source.POLICY

    @abstractmethod
    def blank_action(self) -> Action:
        """Zeros in the form of the action."""

    @abstractmethod
    def run(self, feed: Arrays) -> Arrays:
        """Outputs by name, from inputs by name, all with a batch axis of one."""

    def init(self) -> Carry:
        """A carry of zeros, for the first step of an episode."""
        state = {k: spec.zeros() for k, spec in self.manifest.signature.carry.items()}
        return Carry(state, self.blank_action())

    def blank_extras(self) -> dict[str, NDArray[Any]]:
        """Zeros in the form of the extras, for rows that the policy did not act on."""
        return {k: spec.zeros()[0] for k, spec in self.manifest.signature.extras.items()}

    def step(
        self, carry: Carry, obs: Arrays, is_first: bool, rng: np.random.Generator, explore: bool
    ) -> tuple[Action, Carry, dict[str, NDArray[Any]]]:
        """Choose an action.

        Args:
            carry: from `init()` or the step before, with the action really executed since.
            obs: one array per observation, as the robot's spaces declare it.
            is_first: whether this begins an episode: what `carry` holds is then ignored.
            rng: source of the noise inputs; equal states give equal actions.
            explore: whether the noise that explores is drawn; without it the action is the mode.

        Returns:
            The requested action in the robot's scale, the next carry, and the extras by name.

        Raises:
            BundleError: the policy cannot run on these inputs.
        """
        signature = self.manifest.signature
        feed = {f"in_{k}": np.asarray(v)[None] for k, v in obs.items()}
        feed |= {f"in_carry_{k}": v for k, v in carry.state.items()}
        feed |= {"in_prev_action": carry.prev_action[None], "in_is_first": np.array([is_first])}
        for name, noise in signature.noise.items():
            drawn = noise.sample(rng)  # always, so that evaluation does not shift the rest
            feed[f"in_noise_{name}"] = drawn if explore or not noise.acts else np.zeros_like(drawn)
        out = self.run(feed)
        action = out["out_action"][0]
        state = {k: out[f"out_carry_{k}"] for k in signature.carry}
        return action, Carry(state, action), {k: out[f"out_extra_{k}"][0] for k in signature.extras}
