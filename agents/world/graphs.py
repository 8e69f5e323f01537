"""What the robots get of a world model: one control step, and what planning in it takes.

See `robot_client.bundle` for the names of inputs and outputs. The graphs hold shared modules under
the same names, so that each weight travels once.
"""

from __future__ import annotations

import torch

from agents.agent import Acting, Actor, Graph, Tensors
from agents.blocks.dists import kl
from agents.blocks.policies import told
from agents.world.behaviour import Behaviour
from agents.world.model import WorldModel
from agents.world.rssm import Carry, States, features
from robot_client.bundle import NoiseSpec, Planning, PlanSettings, Signature, TensorSpec


class Filter(Graph):
    """Remembers what was sensed; says how surprising it was.

    `surprise` is the divergence of the posterior from the prior in nats: how much the model
    learned from this observation that it had not expected. `disagreement` is the ensemble's about
    the step that led here (Plan2Explore).
    """

    def __init__(self, world: WorldModel) -> None:
        super().__init__()
        self.encoder, self.rssm, self.codec = world.encoder, world.rssm, world.codec
        self.ensemble = world.ensemble
        self.stored = world.spec.replay_context

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        return self.filter(inputs)[1]

    def filter(self, inputs: Tensors) -> tuple[torch.Tensor, Tensors]:
        """The features (1, F) and the outputs."""
        obs = {k.removeprefix("in_"): t for k, t in inputs.items()}
        before = Carry(inputs["in_carry_deter"], inputs["in_carry_stoch"])
        action, is_first = self.codec.encode(inputs["in_prev_action"]), inputs["in_is_first"]
        carry, states = self.rssm.step(
            self.encoder(obs), action, is_first, before, inputs["in_noise_stoch"]
        )
        outputs = {"out_carry_deter": carry.deter, "out_carry_stoch": carry.stoch}
        return features(*carry), outputs | self._extras(before, action, is_first, states)

    def _extras(
        self, before: Carry, action: torch.Tensor, is_first: torch.Tensor, states: States
    ) -> Tensors:
        latent, prior = self.rssm.latent, self.rssm.prior(states.deter)
        extras = {"out_extra_surprise": kl(latent.dist(states.raw), latent.dist(prior))}
        if self.ensemble is not None:
            found = self.ensemble.disagreement(features(*before), action)
            extras["out_extra_disagreement"] = found * (~is_first).float()
        if self.stored:
            extras["out_extra_deter"] = states.deter.half()
            extras["out_extra_stoch"] = latent.pack(states.stoch)
        return extras


class Policy(Filter, Actor):
    """One control step: encode, filter, act."""

    def __init__(
        self, world: WorldModel, behaviour: Behaviour, signature: Signature, act_noise: float
    ) -> None:
        super().__init__(world)
        self.policy, self.signature, self.act_noise = behaviour.policy, signature, act_noise

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        feat, outputs = self.filter(inputs)
        chosen = self.policy(feat)
        action, outputs = chosen.sample(inputs["in_noise_action"]), outputs | told(chosen)
        if self.codec.discrete:
            return outputs | {"out_action": action}
        if self.act_noise:
            action = action + self.act_noise * inputs["in_noise_explore"]
        return outputs | {"out_action": self.codec.decode(action)}


class Imagine(Graph):
    """One imagined step of N candidates."""

    def __init__(self, world: WorldModel) -> None:
        super().__init__()
        self.rssm, self.reward, self.goes_on = world.rssm, world.reward, world.goes_on
        self.ensemble, self.spec = world.ensemble, world.spec

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        before = Carry(inputs["in_carry_deter"], inputs["in_carry_stoch"])
        action = inputs["in_action"]
        carry = self.rssm.imagine_step(before, action, inputs["in_noise_stoch"])
        feat = features(*carry)
        reward = self.reward(feat).pred()
        if self.ensemble is not None:
            novelty = self.ensemble.disagreement(features(*before), action)
            reward = self.spec.exploit * reward + self.spec.explore * novelty
        goes_on = torch.ones_like(reward) if self.goes_on is None else self.goes_on(feat).prob()
        return {
            "out_carry_deter": carry.deter,
            "out_carry_stoch": carry.stoch,
            "out_reward": reward,
            "out_continue": goes_on,
        }


class Propose(Graph):
    """What the policy would do in N imagined states."""

    def __init__(self, world: WorldModel, behaviour: Behaviour) -> None:
        super().__init__()
        self.policy, self.codec = behaviour.policy, world.codec

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        feat = features(inputs["in_carry_deter"], inputs["in_carry_stoch"])
        action = self.policy(feat).sample(inputs["in_noise_action"])
        if self.codec.discrete:
            return {"out_action": self.codec.encode(action)}
        return {"out_action": self.codec.encode(self.codec.decode(action))}  # within the bounds


class Value(Graph):
    """What comes after N imagined states, as the critic has it."""

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__()
        self.value = behaviour.value

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        feat = features(inputs["in_carry_deter"], inputs["in_carry_stoch"])
        return {"out_value": self.value(feat).pred()}


def acting(
    world: WorldModel, behaviour: Behaviour | None, plan: PlanSettings, act_noise: float
) -> Acting:
    """All graphs that there are: an agent without behaviour can only plan."""
    signature = _signature(world, behaviour, act_noise)
    latent = {"stoch": signature.noise["stoch"]}
    graphs: dict[str, Graph] = {"filter": Filter(world), "imagine": Imagine(world)}
    # Without a critic the plan's rewards simply add up, as PlaNet has it.
    discount = 1.0 if behaviour is None or world.spec.folds_discount else world.spec.discount
    if behaviour is None:
        planning = Planning(latent, {}, discount, plan)
        return Acting(signature, graphs, planning, "planner")
    graphs["policy"] = Policy(world, behaviour, signature, act_noise)
    graphs["propose"] = Propose(world, behaviour)
    graphs["value"] = Value(behaviour)
    action = {"action": NoiseSpec((world.codec.width,), behaviour.noise, acts=True)}
    return Acting(signature, graphs, Planning(latent, action, discount, plan), "actor")


def _signature(world: WorldModel, behaviour: Behaviour | None, act_noise: float) -> Signature:
    latent, deter, width = world.rssm.latent, world.size.deter, world.codec.width
    noise = {"stoch": NoiseSpec(latent.shape, latent.noise, acts=False)}
    if behaviour is not None:
        noise["action"] = NoiseSpec((width,), behaviour.noise, acts=True)
        if act_noise and not world.codec.discrete:
            noise["explore"] = NoiseSpec((width,), "normal", acts=True)
    extras = {"surprise": TensorSpec("float32", ())}
    if world.ensemble is not None:
        extras["disagreement"] = TensorSpec("float32", ())
    if world.spec.replay_context:
        extras |= {"deter": TensorSpec("float16", (deter,)), "stoch": latent.stored}
    carry = {"deter": TensorSpec("float32", (deter,)), "stoch": TensorSpec("float32", latent.shape)}
    return Signature(carry=carry, noise=noise, extras=extras)
