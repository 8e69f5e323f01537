"""How policies without randomness of their own explore. See `robot_client.bundle` on noise.

How much is in buffers, which travel with the weights: a schedule reaches the robots with each
version. Until the first update all actions are uniformly random.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from agents.agent import Tensors
from robot_client.bundle import NoiseSpec, TensorSpec

NoiseName = Literal["normal", "ou"]


class RandomShare(nn.Module):
    """Replaces a share of all actions by uniformly random ones. The share falls linearly.

    Args:
        first, last: share after the first update, and from update `over` on.
        over: see above.
    """

    share: torch.Tensor

    def __init__(self, first: float, last: float, over: int) -> None:
        super().__init__()
        self.first, self.last, self.over = first, last, over
        self.register_buffer("share", torch.ones(()))

    @torch.no_grad()
    def update(self, updates: torch.Tensor) -> None:
        """So many updates have been made, () on the device."""
        done = (updates / self.over).clamp(max=1)
        self.share.copy_(self.first + (self.last - self.first) * done)

    def drawn(self, uniform: torch.Tensor) -> torch.Tensor:
        """(B,) whether to act at random, by numbers (B,) in 0..1; never for those that are 0."""
        return uniform > 1 - self.share


class DiscreteExplorer(RandomShare):
    """Epsilon-greedy choices among `n`."""

    def __init__(self, n: int, first: float, last: float, over: int) -> None:
        super().__init__(first, last, over)
        self.n = n
        self.noise = {"explore": NoiseSpec((2,), "uniform", acts=True)}
        self.carry: dict[str, TensorSpec] = {}

    def forward(self, choice: torch.Tensor, inputs: Tensors) -> Tensors:
        """The greedy choice (B,) and the graph's inputs -> its outputs."""
        whether, which = inputs["in_noise_explore"].unbind(-1)
        other = (which * self.n).to(torch.int64)
        return {"out_action": torch.where(self.drawn(whether), other, choice)}


class BoxExplorer(RandomShare):
    """Adds noise to numbers in -1..1: independent from step to step, or an Ornstein-Uhlenbeck
    process, dx = -pull x + noise, whose state is the graph's carry.

    Args:
        width: A, numbers of an action.
        kind: of the noise.
        deviation: of the noise at each step; 0 for none.
        pull: of the process towards zero, per step.
    """

    def __init__(
        self,
        width: int,
        first: float,
        last: float,
        over: int,
        kind: NoiseName = "normal",
        deviation: float = 0.0,
        pull: float = 0.15,
    ) -> None:
        super().__init__(first, last, over)
        self.deviation, self.pull, self.drifts = deviation, pull, kind == "ou"
        self.noise = {"explore": NoiseSpec((1 + width,), "uniform", acts=True)}
        if deviation:
            self.noise["action"] = NoiseSpec((width,), "normal", acts=True)
        self.carry = {"drift": TensorSpec("float32", (width,))} if self.drifts else {}

    def forward(self, action: torch.Tensor, inputs: Tensors) -> tuple[torch.Tensor, Tensors]:
        """An action (B, A) and the graph's inputs -> what to do, and the graph's carry."""
        carry: Tensors = {}
        if self.deviation:
            moved = self.deviation * inputs["in_noise_action"]
            if self.drifts:
                going_on = (~inputs["in_is_first"]).float()[:, None]
                moved = moved + (1 - self.pull) * going_on * inputs["in_carry_drift"]
                carry = {"out_carry_drift": moved}
            action = (action + moved).clamp(-1, 1)
        uniform = inputs["in_noise_explore"]
        other = 2 * uniform[:, 1:] - 1
        return torch.where(self.drawn(uniform[:, 0])[:, None], other, action), carry
