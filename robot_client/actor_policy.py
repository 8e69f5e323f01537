"""One control step through an actor's named tensors, whatever computes them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_client.bundle import Manifest
from robot_client.ports import Arrays, Carry
from robot_client.robot import Action, as_action
from robot_client.schema import ActionSpace, Source, task_code

Extras = dict[str, NDArray[Any]]


class Graphs(Protocol):
    """The graphs of a bundle, ready to run."""

    def run(self, name: str, feed: Arrays) -> Arrays:
        """Outputs of a graph by name, from its inputs by name; it may be given more than those.

        Raises BundleError when the graph cannot run.
        """
        ...


class GraphPolicy:
    """What acting and planning share: `robot_client.bundle.Signature` says how tensors are named.

    Args:
        manifest: its signature lists carry, noise and extras.
        graphs: has the graphs that the policy runs.
        action_space: the robot's.
        task: name of the robot's task.
    """

    source: Source

    def __init__(
        self, manifest: Manifest, graphs: Graphs, action_space: ActionSpace, task: str = ""
    ) -> None:
        self.manifest, self.graphs = manifest, graphs
        self._told = {"in_task_code": task_code(task)[None]} if manifest.signature.task else {}
        self._blank = as_action(action_space, np.zeros(action_space.shape or ()))

    def init(self) -> Carry:
        """A carry of zeros, for the first step of an episode."""
        state = {k: spec.zeros() for k, spec in self.manifest.signature.carry.items()}
        return Carry(state, self._blank)

    def blank_extras(self) -> Extras:
        """Zeros in the form of the extras, for rows that the policy did not act on."""
        return {k: spec.zeros()[0] for k, spec in self.manifest.signature.extras.items()}

    def observe(
        self,
        graph: str,
        carry: Carry,
        obs: Arrays,
        is_first: bool,
        rng: np.random.Generator,
        explore: bool,
    ) -> tuple[Arrays, dict[str, NDArray[Any]], Extras]:
        """Run `policy` or `filter` on an observation: all outputs, the next state, the extras."""
        signature = self.manifest.signature
        feed = {f"in_{k}": np.asarray(v)[None] for k, v in obs.items()}
        feed |= {f"in_carry_{k}": carry.state[k] for k in signature.carry}
        feed |= {"in_prev_action": carry.prev_action[None], "in_is_first": np.array([is_first])}
        feed |= self._told
        for name, noise in signature.noise.items():
            drawn = noise.sample(rng)  # always, so that evaluation does not shift the rest
            feed[f"in_noise_{name}"] = drawn if explore or not noise.acts else np.zeros_like(drawn)
        out = self.graphs.run(graph, feed)
        state = {k: out[f"out_carry_{k}"] for k in signature.carry}
        return out, state, {k: out[f"out_extra_{k}"][0] for k in signature.extras}


class ActorPolicy(GraphPolicy):
    """Runs the graph `policy`."""

    def __init__(
        self, manifest: Manifest, graphs: Graphs, action_space: ActionSpace, task: str = ""
    ) -> None:
        super().__init__(manifest, graphs, action_space, task)
        self.source = Source.RANDOM if manifest.agent == "random" else Source.POLICY

    def step(
        self, carry: Carry, obs: Arrays, is_first: bool, rng: np.random.Generator, explore: bool
    ) -> tuple[Action, Carry, Extras]:
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
        out, state, extras = self.observe("policy", carry, obs, is_first, rng, explore)
        action: Action = out["out_action"][0]
        return action, Carry(state, action), extras
