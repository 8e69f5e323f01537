"""Temporal difference models (Pong et al. 2018, "Temporal difference models: model-free deep RL for
model-based control").

Q(s, a, g, tau) says, for each number of the goal g, how far from it one will be tau + 1 steps on:
-|g(s') - g| where tau is 0, else what Q says of the next state, where tau - 1 are left. There is no
discount, and neither rewards nor ends of the task count. The network's own output is where one will
be, f, and Q = -|g - f|: a model of many steps at once. What acts is the actor with its time running
out, or one of the lecture's two forms of control: the best of many actions, or the best of many
goals by what the task would pay there, if they can be reached in time.

Where sources differ. The lecture's slide says that it does predict the next state; it does not: it
predicts how far from the goal one will be. The slide's Q is one number, the paper's a vector, a
distance for each number of the goal; so is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from gymnasium import spaces
from pydantic import Field
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.agent import Acting, Actor, GoalTransitions, Tensors
from agents.blocks.explore import BoxExplorer, NoiseName
from agents.blocks.goals import GoalKeys
from agents.blocks.observe import Features, part
from agents.blocks.off_policy import OffPolicyAgent, OffPolicyConfig, Widths, step
from agents.blocks.stacks import Members
from agents.blocks.views import frozen_view
from agents.ddpg import DeterministicActor, bounded_codec
from robot_client.bundle import NoiseSpec, Signature, TensorSpec
from robot_client.rewards import Distance
from robot_client.schema import ACTION, ActionSpace

Form = Literal["actor", "actions", "goals"]


class TDMConfig(OffPolicyConfig, GoalKeys):
    """Defaults are those of the authors' code (rlkit), for the cheetah that runs at a speed."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {
            "widths": (128, 128),
            "learning_rate": 1e-3,
            "target_rate": 0.005,
            "horizon": 15,
            "noise": "normal",
            "deviation": 0.2,
            "relabelled": 0.8,
        }
    }

    n_step: Literal[1] = Field(1, description="A target looks one step ahead.")
    discount: Literal[1] = Field(1, description="There is none.")
    batch_size: int = Field(128, ge=1, description="Transitions per update.")
    horizon: int = Field(10, ge=0, le=10_000, description="The longest time to reach a goal, tau.")
    scale: float = Field(10.0, gt=0, description="Goals and distances are multiplied by it.")
    weights: tuple[float, ...] = Field(
        (), description="How much each number of a goal counts when acting; none: all alike."
    )
    relabelled: float = Field(
        0.75, ge=0, le=1, description="Share of rows whose goal is one reached later on."
    )
    widths: Widths = Field((300, 300), description="Hidden layers of actor and critic.")
    learning_rate: float = Field(1e-3, gt=0, description="Of actor and critic.")
    target_rate: float = Field(
        0.001, gt=0, le=1, description="How fast target networks follow, per update."
    )
    noise: NoiseName = Field("ou", description="Independent (normal), or drifting (ou).")
    deviation: float = Field(
        0.1, ge=0, description="Of the noise at each step; an action's range is 2."
    )
    pull: float = Field(0.1, ge=0, le=1, description="Of drifting noise to zero, per step.")
    saturation: float = Field(
        0.001, ge=0, description="Weight of the actor's squared output before its tanh."
    )
    act: Form = Field(
        "actor", description="By the actor; by the best of many actions, or of many goals."
    )
    candidates: int = Field(256, ge=1, le=65_536, description="Actions or goals to choose among.")
    caution: float = Field(
        1.0, ge=0, description="With goals: how much it costs not to reach one, per its distance."
    )


class GoalCritic(nn.Module):
    """Situations and actions -> where one will be, in scaled goals.

    Args:
        seen: the observations, without the goal.
        goal: g, numbers of a goal.
        actions: A.
        config: scale, horizon and widths.
    """

    def __init__(self, seen: spaces.Dict, goal: int, actions: int, config: TDMConfig) -> None:
        super().__init__()
        self.features = Features(seen)
        self.scale, self.horizon = config.scale, max(config.horizon, 1)
        self.width = self.features.width + goal + 1
        self.members = Members(1, self.width + actions, config.widths, goal)

    def situation(self, x: torch.Tensor, goal: torch.Tensor, tau: torch.Tensor) -> torch.Tensor:
        """Features (B, F), goals (B, g) as observed, and steps left (B,) -> (B, width)."""
        return torch.cat([x, self.scale * goal, tau[:, None] / self.horizon], -1)

    def forward(
        self, situation: torch.Tensor, action: torch.Tensor, goal: torch.Tensor
    ) -> torch.Tensor:
        """(B, width), (B, A), (B, g) -> Q (B, g), none above 0."""
        place: torch.Tensor = self.members(torch.cat([situation, action], -1))[0]
        return -(self.scale * goal - place).abs()


class TDM(OffPolicyAgent):
    """Learns how near to any goal it can come in so many steps (temporal difference models)."""

    config_type = TDMConfig
    accepts = ("continuous", "vectors", "images", "goals")
    config: TDMConfig
    explorer: BoxExplorer

    def _build(self, seen: spaces.Dict, action_space: ActionSpace) -> None:
        config = self.config
        config.check(seen, config.keys)
        self.codec = bounded_codec(action_space).to(self.device)
        goal, width = seen[config.desired].shape[0], self.codec.width  # type: ignore[index]
        weights = torch.tensor(config.weights or (1.0,) * goal)
        if len(weights) != goal:
            raise ValueError(f"weights: expected {goal}, one for each number, got {len(weights)}")
        self.weights = weights.to(self.device)
        others = spaces.Dict({k: s for k, s in seen.spaces.items() if k != config.desired})
        self.critic = GoalCritic(others, goal, width, config).to(self.device)
        self.actor = DeterministicActor(self.critic.width, config.widths, width).to(self.device)
        self.slow_critic, self.slow_actor = map(self._follower, (self.critic, self.actor))
        self._judge = frozen_view(self.critic)
        self.extent = Extent(goal).to(self.device)
        self.explorer = self._noisy(width)
        self._optimizers = {
            "critic": self._adam(self.critic, config.learning_rate),
            "actor": self._adam(self.actor, config.learning_rate),
        }
        self.demand = GoalTransitions(
            config.batch_size, 1, 1.0, config.priority, relabelled=config.relabelled
        )

    def acting(self) -> Acting:
        """The form of control that the configuration names."""
        self.config.check_task(self.task)
        policy = FORMS[self.config.act](self)
        return Acting(policy.signature, {"policy": policy})

    @torch.no_grad()
    def target(self, batch: Tensors, goal: torch.Tensor, tau: torch.Tensor) -> torch.Tensor:
        """(B, g) what Q of the batch's actions should be, for goals (B, g) and steps left (B,)."""
        slow, arrived = self.slow_critic.net, batch[f"next/{self.config.achieved}"]
        # Where no time is left the answer is not used, but the networks must be asked something.
        later = (tau - 1).clamp(min=0)
        following = slow.situation(slow.features(part(batch, "next/")), goal, later)
        on = slow(following, torch.tanh(self.slow_actor.net(following)), goal)
        return target_of(arrived, goal, tau, on, self.config.scale)

    def actor_loss(self, situation: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        """() how far from the goal (B, g) the critic sees the actor come from (B, width)."""
        raw = self.actor(situation)
        values = self._judge(situation, torch.tanh(raw), goal) @ self.weights
        loss: torch.Tensor = self.config.saturation * raw.square().mean() - values.mean()
        return loss

    def _learn(self, batch: Tensors, weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
        goal, action = batch[self.config.desired], self.codec.encode(batch[ACTION])
        tau = torch.randint(
            self.config.horizon + 1, weight.shape, generator=self._generator, device=self.device
        )
        target = self.target(batch, goal, tau)
        situation = self.critic.situation(self.critic.features(batch), goal, tau)
        values = self.critic(situation, action, goal)
        critic_loss = (weight * F.huber_loss(values, target, reduction="none").mean(-1)).mean()
        norm = step(self._optimizers["critic"], critic_loss)
        actor_loss = self.actor_loss(situation.detach(), goal)
        actor_norm = step(self._optimizers["actor"], actor_loss)
        self.slow_critic.update(self.critic)
        self.slow_actor.update(self.actor)
        self.extent.update(batch[f"next/{self.config.achieved}"])
        metrics = {
            "loss/critic": critic_loss.detach(),
            "loss/actor": actor_loss.detach(),
            "value": values.detach().mean(),
            "grad_norm/critic": norm,
            "grad_norm/actor": actor_norm,
        }
        return metrics, (values.detach() - target).abs().mean(-1)

    def _kept(self) -> Mapping[str, Any]:
        return {
            "critic": self.critic,
            "actor": self.actor,
            "slow_critic": self.slow_critic,
            "slow_actor": self.slow_actor,
            "extent": self.extent,
            **{f"optimizer.{name}": o for name, o in self._optimizers.items()},
        }


def target_of(
    arrived: torch.Tensor,
    goal: torch.Tensor,
    tau: torch.Tensor,
    following: torch.Tensor,
    scale: float = 1.0,
) -> torch.Tensor:
    """The paper's recursion (section 3), for each number of a goal.

    Args:
        arrived: (B, g) what the step achieved.
        goal: (B, g).
        tau: (B,) steps left after it.
        following: (B, g) what Q says of the next state; not used where none is left.
        scale: of distances.
    """
    return torch.where((tau == 0)[:, None], -scale * (arrived - goal).abs(), following)


class Extent(nn.Module):
    """The box of all that was ever achieved, in which goals are looked for; -1..1 at first."""

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, goal: int) -> None:
        super().__init__()
        self.register_buffer("low", torch.ones(goal))  # above `high`: nothing is known
        self.register_buffer("high", -torch.ones(goal))

    @torch.no_grad()
    def update(self, achieved: torch.Tensor) -> None:
        """More was achieved, (B, g)."""
        low, high, known = achieved.amin(0), achieved.amax(0), self.low <= self.high
        least = torch.where(known, torch.minimum(self.low, low), low)
        self.high.copy_(torch.where(known, torch.maximum(self.high, high), high))
        self.low.copy_(least)

    def place(self, share: torch.Tensor) -> torch.Tensor:
        """(K, g) shares of the box in 0..1 -> (K, g) goals."""
        return self.low + share * (self.high - self.low)


class TimedPolicy(Actor):
    """One control step by the actor, whose time runs out and begins anew.

    The time that is left falls from the horizon to 0 and starts again; it is never more than is
    left of the episode, where that is known. The carry is how many steps the episode has had.

    Args:
        agent: whose networks act.
    """

    def __init__(self, agent: TDM) -> None:
        super().__init__()
        self.critic, self.actor, self.codec = agent.critic, agent.actor, agent.codec
        self.explorer = agent.explorer
        self._config, self._cycle = agent.config, agent.config.horizon + 1
        self._limit = None if agent.task is None else agent.task.episode_steps
        carry = {"steps": TensorSpec("int64", ())} | dict(agent.explorer.carry)
        noise = agent.explorer.noise | self._noise(agent)
        self.signature = Signature(noise=noise, carry=carry)

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        obs = part(inputs, "in_")
        steps = torch.where(inputs["in_is_first"], 0, inputs["in_carry_steps"])
        mode = self.choose(obs, self.left(steps), inputs)
        action, carry = self.explorer(mode, inputs)
        return {"out_action": self.codec.decode(action), "out_carry_steps": steps + 1, **carry}

    def left(self, steps: torch.Tensor) -> torch.Tensor:
        """(B,) steps so far -> (B,) tau: 0 says that the next observation counts."""
        tau = self._cycle - 1 - steps % self._cycle
        if self._limit is None:
            return tau
        return torch.minimum(tau, (self._limit - 1 - steps).clamp(min=0))

    def choose(self, obs: Tensors, tau: torch.Tensor, inputs: Tensors) -> torch.Tensor:
        """Observations (1, ...) and tau (1,) -> actions (1, A) in -1..1."""
        goal = obs[self._config.desired]
        return torch.tanh(self.actor(self.critic.situation(self.critic.features(obs), goal, tau)))

    def _noise(self, agent: TDM) -> dict[str, NoiseSpec]:
        """Random inputs of `choose`."""
        return {}


class ActionSearch(TimedPolicy):
    """The lecture's first form: of many actions, that which leads nearest to the goal in time."""

    weights: torch.Tensor

    def __init__(self, agent: TDM) -> None:
        super().__init__(agent)
        self.register_buffer("weights", agent.weights, persistent=False)

    def choose(self, obs: Tensors, tau: torch.Tensor, inputs: Tensors) -> torch.Tensor:
        """The best of K actions, drawn evenly."""
        actions = 2 * inputs["in_noise_candidates"][0] - 1
        rows, goal = len(actions), obs[self._config.desired]
        situation = self.critic.situation(self.critic.features(obs), goal, tau)
        values = self.critic(situation.expand(rows, -1), actions, goal.expand(rows, -1))
        return actions[(values @ self.weights).argmax(0, keepdim=True)]

    def _noise(self, agent: TDM) -> dict[str, NoiseSpec]:
        shape = (agent.config.candidates, agent.codec.width)
        return {"candidates": NoiseSpec(shape, "uniform", acts=False)}


class GoalSearch(TimedPolicy):
    """The lecture's second form, MPC over goals: of the wanted one and many others, drawn evenly
    from the box of what was ever achieved, that where the task pays most if it is reached in time.

    What is known of the task is its reward; the other observations that it reads count as they are
    now. A goal costs `caution` times the distance by which Q says it will be missed (the paper's
    constraint Q = 0, as a penalty).
    """

    weights: torch.Tensor

    def __init__(self, agent: TDM) -> None:
        super().__init__(agent)
        self.extent = agent.extent
        self.register_buffer("weights", agent.weights, persistent=False)
        declared = None if agent.task is None else agent.task.reward
        self._reward = declared or Distance(agent.config.achieved, agent.config.desired)

    def choose(self, obs: Tensors, tau: torch.Tensor, inputs: Tensors) -> torch.Tensor:
        """What the actor does towards the best of K + 1 goals."""
        wanted = obs[self._config.desired]
        goals = torch.cat([wanted, self.extent.place(inputs["in_noise_candidates"][0])])
        rows = len(goals)
        x = self.critic.features(obs).expand(rows, -1)
        situation = self.critic.situation(x, goals, tau.expand(rows))
        actions = torch.tanh(self.actor(situation))
        missed = self.critic(situation, actions, goals) @ self.weights / self._config.scale
        score = self._pays(obs, goals, actions) + self._config.caution * missed
        return actions[score.argmax(0, keepdim=True)]

    def _pays(self, obs: Tensors, goals: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """(K,) rewards of being at goals (K, g), by actions (K, A)."""
        names = self._reward.names & obs.keys()
        there = {name: obs[name].expand(len(goals), *obs[name].shape[1:]) for name in names}
        there[self._config.achieved] = goals
        found: torch.Tensor = self._reward({**there, ACTION: self.codec.decode(actions)})
        return found

    def _noise(self, agent: TDM) -> dict[str, NoiseSpec]:
        shape = (agent.config.candidates, len(agent.weights))
        return {"candidates": NoiseSpec(shape, "uniform", acts=False)}


FORMS: Mapping[Form, type[TimedPolicy]] = {
    "actor": TimedPolicy,
    "actions": ActionSearch,
    "goals": GoalSearch,
}
