"""DQN (Mnih et al. 2015, "Human-level control through deep reinforcement learning"), and each of
the six extensions that make it Rainbow (Hessel et al. 2018) as an option of its own.

Double: the live network chooses the successor's action, the target network values it (van Hasselt
et al. 2016). Duelling: a value and an advantage of each action, apart (Wang et al. 2016).
Distributional: see `agents.blocks.values.Atoms`. Noisy: see `agents.blocks.stacks.NoisyDense`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from pydantic import Field
from torch import nn

from agents.agent import Acting, Actor, Tensors
from agents.blocks.explore import DiscreteExplorer
from agents.blocks.observe import Features, part
from agents.blocks.off_policy import OffPolicyAgent, OffPolicyConfig, Widths, step
from agents.blocks.stacks import Stream, stack
from agents.blocks.values import Head, Target, make_head
from agents.errors import UnsupportedSpace
from robot_client.bundle import NoiseSpec, Signature
from robot_client.schema import ACTION, ActionSpace

_RAINBOW = {
    "double": True,
    "duelling": True,
    "noisy": True,
    "atoms": 51,
    "n_step": 3,
    "priority": 0.5,
    "random_first": 0.0,
    "random_last": 0.0,
    "clip": 10.0,
    "target_every": 8000,
    "learning_rate": 6.25e-5,
    "adam_eps": 1.5e-4,
}
_LAPTOP = {
    "batch_size": 64,
    "learning_rate": 1e-3,
    "widths": (128, 128),
    "target_every": 200,
    "random_updates": 5000,
    "random_last": 0.05,
    "clip": 10.0,
}


class DQNConfig(OffPolicyConfig):
    """Defaults are the paper's, with Adam in the place of RMSProp; `rainbow` has all extensions."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {**_LAPTOP, "double": True},
        "rainbow": _RAINBOW,
        "rainbow-laptop": {
            **_RAINBOW,
            **_LAPTOP,
            "random_last": 0.0,
            "correction_updates": 20_000,
            "low": 0.0,
            "high": 100.0,
        },
    }

    batch_size: int = Field(32, ge=1, description="Transitions per update.")
    widths: Widths = Field((512,), description="Hidden layers; the last one is each stream's own.")
    learning_rate: float = Field(2.5e-4, gt=0, description="Of the network.")
    adam_eps: float = Field(1e-8, gt=0, description="Adam's epsilon.")
    target_every: int = Field(
        10_000, ge=0, description="Updates between copies to the target network; 0: it follows."
    )
    random_first: float = Field(
        1.0, ge=0, le=1, description="Share of random actions once it learns; all are before."
    )
    random_last: float = Field(0.1, ge=0, le=1, description="Share of random actions at last.")
    random_updates: int = Field(250_000, ge=1, description="Updates until then.")
    double: bool = Field(False, description="Choose by the live network, value by the target's.")
    duelling: bool = Field(False, description="Learn a value, and advantages, apart.")
    noisy: bool = Field(False, description="Explore by learned noise of the weights.")
    atoms: int = Field(0, ge=0, le=1024, description="Of a distribution of returns; 0: the mean.")
    low: float = Field(-10.0, description="With atoms: the least discounted return.")
    high: float = Field(10.0, description="With atoms: the greatest discounted return.")


class QNetwork(nn.Module):
    """Observations -> raw values of every action (B, n, width); `head` makes numbers of them."""

    def __init__(self, seen: spaces.Dict, n: int, config: DQNConfig) -> None:
        super().__init__()
        self.n = n
        self.head: Head = make_head(config.atoms, config.low, config.high, huber=True)
        self.features = Features(seen)
        self.trunk = stack(self.features.width, config.widths[:-1])
        width = [self.features.width, *config.widths[:-1]][-1]
        own, outputs = config.widths[-1:], self.head.width
        self.advantage = Stream(width, own, n * outputs, config.noisy)
        self.value = Stream(width, own, outputs, config.noisy) if config.duelling else None
        self.noise_width = self.advantage.noise_width
        if self.value is not None:
            self.noise_width += self.value.noise_width

    def forward(self, obs: Tensors, noise: torch.Tensor) -> torch.Tensor:
        """Noise is (B or 1, noise_width), zero for the mean weights."""
        x = self.trunk(self.features(obs))
        mine = self.advantage.noise_width
        flat: torch.Tensor = self.advantage(x, noise[:, :mine])
        raw = flat.reshape(-1, self.n, self.head.width)
        if self.value is None:
            return raw
        value: torch.Tensor = self.value(x, noise[:, mine:])[:, None]
        return value + raw - raw.mean(1, keepdim=True)


class DQN(OffPolicyAgent):
    """Learns the value of every choice, and takes the best (DQN; Rainbow with all options)."""

    config_type = DQNConfig
    accepts = ("discrete", "vectors", "images")
    config: DQNConfig
    explorer: DiscreteExplorer

    def _build(self, seen: spaces.Dict, action_space: ActionSpace) -> None:
        if not isinstance(action_space, spaces.Discrete):
            raise UnsupportedSpace("action_space", "Discrete", action_space)
        config, n = self.config, int(action_space.n)
        self.net = QNetwork(seen, n, config).to(self.device)
        self.slow = self._follower(self.net)
        self.explorer = DiscreteExplorer(
            n, config.random_first, config.random_last, config.random_updates
        ).to(self.device)
        self._optimizer = self._adam(self.net, config.learning_rate, config.adam_eps)

    def acting(self) -> Acting:
        """The greedy policy, which explores by noise."""
        policy = GreedyPolicy(self.net, self.explorer)
        return Acting(policy.signature, {"policy": policy})

    @torch.no_grad()
    def act(self, obs: Tensors) -> torch.Tensor:
        """(B,) best actions of observations, by what one draw of the weights says."""
        raw: torch.Tensor = self.net(obs, self._noise())
        return self.net.head.pred(raw).argmax(-1)

    def target(self, batch: Tensors) -> Target:
        """What the values of the batch's actions should be."""
        following = part(batch, "next/")
        head, rows = self.net.head, torch.arange(len(batch["return"]), device=self.device)
        with torch.no_grad():
            slow = self.slow.net(following, self._noise())
            judge = self.net(following, self._noise()) if self.config.double else slow
            best = head.pred(judge).argmax(-1)
        return Target(batch["return"], batch["discount"], slow[rows, best])

    def _learn(self, batch: Tensors, weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
        target, rows = self.target(batch), torch.arange(len(weight), device=self.device)
        raw = self.net(batch, self._noise())[rows, batch[ACTION]]
        losses, priority = self.net.head.loss(raw, target)
        loss = (weight * losses).mean()
        norm = step(self._optimizer, loss)
        self.slow.update(self.net)
        value = self.net.head.pred(raw.detach()).mean()
        return {"loss": loss.detach(), "value": value, "grad_norm": norm}, priority

    def _noise(self) -> torch.Tensor:
        """(1, noise_width): one draw of the weights for a whole batch."""
        return self._normal(1, self.net.noise_width)

    def _kept(self) -> Mapping[str, Any]:
        return {"net": self.net, "slow": self.slow, "optimizer": self._optimizer}


class GreedyPolicy(Actor):
    """One control step."""

    def __init__(self, net: QNetwork, explorer: DiscreteExplorer) -> None:
        super().__init__()
        self.net, self.explorer = net, explorer
        noise = dict(explorer.noise)
        if net.noise_width:
            noise["weights"] = NoiseSpec((net.noise_width,), "normal", acts=True)
        self.signature = Signature(noise=noise)

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        obs = part(inputs, "in_")
        none = inputs["in_noise_explore"][:, :0]
        raw = self.net(obs, inputs["in_noise_weights"] if self.net.noise_width else none)
        values = self.net.head.pred(raw)
        found: Tensors = self.explorer(values.argmax(-1), inputs)
        return {**found, "out_q": values}
