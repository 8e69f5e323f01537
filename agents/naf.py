"""NAF (Gu et al. 2016, "Continuous deep Q-learning with model-based acceleration").

Q-learning for continuous actions: the advantage is a quadratic around the best action, so that both
the best action and its value are outputs of one network. At first it replays imagined rows too, of
a local linear model that is refitted as rows come; later, when a learned Q knows better than such a
model, only what was real.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from pydantic import Field
from torch import nn

from agents.agent import Acting, Actor, Tensors
from agents.blocks.actions import ActionCodec
from agents.blocks.dynamics import Outcomes, experience
from agents.blocks.explore import BoxExplorer, NoiseName
from agents.blocks.imagination import Controller, Imagination, LearnedReward
from agents.blocks.local_linear import LocalLinear
from agents.blocks.nets import RELU, Dense
from agents.blocks.observe import Vectors, part
from agents.blocks.off_policy import OffPolicyAgent, OffPolicyConfig, Widths, step
from agents.blocks.ring import Ring
from agents.blocks.stacks import stack
from agents.blocks.values import distance
from agents.ddpg import bounded_codec
from robot_client.bundle import NoiseSpec, Signature, TensorSpec
from robot_client.schema import ACTION, EXTRA_PREFIX, IS_FIRST, ActionSpace

_CLOCK = "clock"
_STEEP = 5.0  # largest logarithm of a diagonal entry, before exp would run away


class NAFConfig(OffPolicyConfig):
    """Defaults are the paper's as far as they are known."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {"widths": (100, 100), "target_rate": 0.005, "steps": 50, "clip": 1.0}
    }

    batch_size: int = Field(100, ge=1, description="Transitions per update.")
    n_step: int = Field(1, ge=1, le=1, description="Its models go step by step.")
    widths: Widths = Field((200, 200), description="Hidden layers.")
    learning_rate: float = Field(1e-3, gt=0, description="Of Adam.")
    target_rate: float = Field(
        0.001, gt=0, le=1, description="How fast the target network follows, per update."
    )
    noise: NoiseName = Field("ou", description="Independent (normal), or drifting (ou).")
    deviation: float = Field(
        0.3, ge=0, description="Of the noise at each step; an action's range is 2."
    )
    pull: float = Field(0.15, ge=0, le=1, description="Of drifting noise to zero, per step.")
    imagined_updates: int = Field(
        4, ge=0, description="Updates from imagined rows after each from real ones; 0: none."
    )
    imagined_until: int = Field(
        5000, ge=0, description="Updates after which nothing is imagined: the model helps early."
    )
    imagined_steps: int = Field(5, ge=1, le=100, description="Of a roll-out.")
    imagined_capacity: int = Field(10_000, ge=1, description="Imagined rows that are kept.")
    on_policy: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the roll-outs that act by the policy and its noise;"
        " others by iLQG's controller if there is one, else at random.",
    )
    ilqg: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the robots' episodes that act by a controller which"
        " iLQG finds under the model, as long as there is imagination.",
    )
    ilqg_iterations: int = Field(5, ge=1, description="Of iLQG at each refit.")
    refit_every: int = Field(200, ge=1, description="Updates between two fits of the model.")
    steps: int = Field(200, ge=1, description="Times of an episode that the model tells apart.")
    memory: int = Field(10_000, gt=1, description="Rows after which it has forgotten one, about.")
    prior: float = Field(
        1.0, gt=0, description="Rows of a time that the rows of all times together count for."
    )
    reward_widths: Widths = Field(
        (64, 64), description="Hidden layers of the reward's network, if no task declares it."
    )


class Quadratic(nn.Module):
    """Observations (B, N) -> the best action, its value, and how fast others are worse.

    Args:
        width, actions: N and A.
        widths: of the hidden layers.
    """

    def __init__(self, width: int, actions: int, widths: Widths) -> None:
        super().__init__()
        self.actions = actions
        self.trunk, last = stack(width, widths), [width, *widths][-1]
        entries = actions * (actions + 1) // 2
        self.value = Dense(last, 1, norm=False, act=False, style=RELU)
        self.mean = Dense(last, actions, norm=False, act=False, outscale=0.01, style=RELU)
        self.entries = Dense(last, entries, norm=False, act=False, outscale=0.01, style=RELU)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B,) value, (B, A) action in -1..1, (B, A (A + 1) / 2) entries of the factor."""
        y = self.trunk(x)
        return self.value(y)[:, 0], torch.tanh(self.mean(y)), self.entries(y)

    def best(self, x: torch.Tensor) -> torch.Tensor:
        """(B, A) the action alone."""
        action: torch.Tensor = torch.tanh(self.mean(self.trunk(x)))
        return action

    def quality(self, x: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """(B,) value of actions (B, A)."""
        value, best, entries = self(x)
        worth: torch.Tensor = value + advantage(entries, action - best)
        return worth


def lower_factor(entries: torch.Tensor, actions: int) -> torch.Tensor:
    """(B, A (A + 1) / 2) -> (B, A, A) lower triangular, row by row, its diagonal exponentiated."""
    rows, columns = torch.tril_indices(actions, actions, device=entries.device)
    full = entries.new_zeros(len(entries), actions, actions)
    full[:, rows, columns] = entries
    diagonal = torch.diagonal(full, dim1=-2, dim2=-1).clamp(max=_STEEP).exp()
    return full.tril(-1) + torch.diag_embed(diagonal)


def advantage(entries: torch.Tensor, away: torch.Tensor) -> torch.Tensor:
    """(B,) -1/2 |L^T away|^2 of what actions differ from the best, (B, A)."""
    factor = lower_factor(entries, away.shape[-1])
    return -0.5 * (factor.mT @ away[..., None]).square().sum((-2, -1))


class NAF(OffPolicyAgent):
    """Learns a value that is quadratic in the action, from real rows and imagined ones."""

    config_type: ClassVar[type[NAFConfig]] = NAFConfig
    accepts = ("continuous", "vectors")
    config: NAFConfig

    def _build(self, seen: spaces.Dict, action_space: ActionSpace) -> None:
        config, device = self.config, self.device
        self.vectors = Vectors(seen).to(device)
        self.codec = bounded_codec(action_space).to(device)
        n, a = self.vectors.width, self.codec.width
        self.net = Quadratic(n, a, config.widths).to(device)
        self.slow = self._follower(self.net)
        self.explorer = self._noisy(a)
        self.imagination = Imagination(
            LocalLinear(n, a, config.steps, config.memory, config.prior),
            LearnedReward(n, a, config.reward_widths),
            Controller(n, a, config.steps),
            Ring(max(config.imagined_capacity, config.batch_size), 2 * n + a + 3),
            config.discount,
        ).to(device)
        self._optimizer = self._adam(self.net, config.learning_rate)
        self._reward_optimizer = self._adam(self.imagination.reward, config.learning_rate)
        self._done = 0  # as `_updates`, without asking the device

    def acting(self) -> Acting:
        """The best action; some episodes by the controller, if that is wanted."""
        controller = self.imagination.controller if self.config.ilqg else None
        policy = NAFPolicy(self.vectors, self.net, self.codec, self.explorer, controller)  # type: ignore[arg-type]
        return Acting(policy.signature, {"policy": policy})

    @torch.no_grad()
    def target(
        self, reward: torch.Tensor, factor: torch.Tensor, after: torch.Tensor
    ) -> torch.Tensor:
        """(B,) what actions are worth that earned and led there: the best action is known."""
        value: torch.Tensor = self.slow.net(after)[0]
        return reward + factor * value

    def _learn(self, batch: Tensors, weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
        x, after = self.vectors(batch), self.vectors(part(batch, "next/"))
        action = self.codec.encode(batch[ACTION])
        target = self.target(batch["return"], batch["discount"], after)
        metrics, priority = self._update(x, action, target, weight)
        if self._done < self.config.imagined_until and self.config.imagined_updates:
            metrics |= self._imagine(batch)
        else:
            self.imagination.controller.share.zero_()
        self._done += 1
        return metrics, priority

    def _update(
        self, x: torch.Tensor, action: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
    ) -> tuple[Tensors, torch.Tensor]:
        found = self.net.quality(x, action)
        losses, errors = distance(found, target)
        loss = (weight * losses).mean()
        norm = step(self._optimizer, loss)
        self.slow.update(self.net)
        metrics = {"loss/critic": loss.detach(), "value": found.detach().mean(), "grad_norm": norm}
        return metrics, errors

    def _imagine(self, batch: Tensors) -> Tensors:
        """Let the model see real rows; imagine some; learn from imagined ones."""
        config, imagination = self.config, self.imagination
        seen = experience(batch, self.vectors, self.codec)
        clock = self._clock(batch)
        imagination.model.take_in(seen.x, seen.action, seen.after, clock)
        reward_loss = imagination.reward.loss(seen)
        step(self._reward_optimizer, reward_loss)
        metrics = {"loss/reward": reward_loss.detach()}
        if (self._done + 1) % config.refit_every == 0:
            self._refit()
        if self._done + 1 < config.refit_every:
            return metrics | {"loss/imagined": torch.zeros_like(reward_loss)}
        outcomes = Outcomes(self.vectors, self.codec, self.task)
        policies = [(self._explored, config.on_policy), (self._other, 1 - config.on_policy)]
        imagination.imagine(seen.x, clock, policies, outcomes, config.imagined_steps, self._normal)
        return metrics | {"loss/imagined": self._learn_imagined()}

    def _learn_imagined(self) -> torch.Tensor:
        losses = []
        for _ in range(self.config.imagined_updates):
            rows = self.imagination.draw(self.config.batch_size, self._generator)
            target = self.target(rows.reward, rows.factor, rows.after)
            losses.append(self._update(rows.x, rows.action, target, rows.weight)[0]["loss/critic"])
        return torch.stack(losses).mean()

    def _refit(self) -> None:
        config = self.config
        self.imagination.model.refit()
        if config.ilqg:
            outcomes = Outcomes(self.vectors, self.codec, self.task)
            self.imagination.plan(outcomes, config.ilqg, config.ilqg_iterations)

    def _clock(self, batch: Tensors) -> torch.Tensor:
        """(B,) time of each row in its episode; -1 where no policy of ours has counted."""
        clock = batch[EXTRA_PREFIX + _CLOCK]
        return torch.where((clock > 0) | batch[IS_FIRST], clock, -1.0)

    def _explored(self, x: torch.Tensor, clock: torch.Tensor) -> torch.Tensor:
        action: torch.Tensor = self.net.best(x)
        return (action + self.config.deviation * self._normal(*action.shape)).clamp(-1, 1)

    def _other(self, x: torch.Tensor, clock: torch.Tensor) -> torch.Tensor:
        if self.config.ilqg:
            action: torch.Tensor = self.imagination.controller(x, clock)
            return action
        shape = (len(x), self.codec.width)
        uniform = torch.rand(shape, generator=self._generator, device=self.device)
        return 2 * uniform - 1

    def _kept(self) -> Mapping[str, Any]:
        return {
            "net": self.net,
            "slow": self.slow,
            "imagination": self.imagination,
            "optimizer": self._optimizer,
            "reward_optimizer": self._reward_optimizer,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self._done = int(self._updates)


class NAFPolicy(Actor):
    """One control step. It counts the steps of the episode, and writes the count down."""

    def __init__(
        self,
        vectors: Vectors,
        net: Quadratic,
        codec: ActionCodec,
        explorer: BoxExplorer,
        controller: Controller | None,
    ) -> None:
        super().__init__()
        self.vectors, self.net, self.codec, self.explorer = vectors, net, codec, explorer
        self.controller = controller
        number = TensorSpec("float32", ())
        chosen = {} if controller is None else {"chosen": number}
        drawn = {} if controller is None else {"episode": NoiseSpec((1,), "uniform", acts=True)}
        self.signature = Signature(
            noise=explorer.noise | drawn,
            carry={**explorer.carry, _CLOCK: number, **chosen},
            extras={_CLOCK: number},
        )

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        x, first = self.vectors(part(inputs, "in_")), inputs["in_is_first"]
        clock = torch.where(first, 0.0, inputs["in_carry_clock"])
        action, carry = self.net.best(x), {"out_carry_clock": clock + 1}
        if self.controller is not None:
            drawn = (inputs["in_noise_episode"][:, 0] > 1 - self.controller.share).float()
            chosen = torch.where(first, drawn, inputs["in_carry_chosen"])
            carry["out_carry_chosen"] = chosen
            action = torch.where(chosen[:, None] > 0.5, self.controller(x, clock), action)
        action, drift = self.explorer(action, inputs)
        decoded = self.codec.decode(action)
        return {"out_action": decoded, "out_extra_clock": clock, **carry, **drift}
