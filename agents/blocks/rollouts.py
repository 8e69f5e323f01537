"""Imagined rollouts, one for each action, and what is read out of them (Weber et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks.grids import Convs, Outcome, push
from agents.blocks.memory import Memory
from agents.blocks.nets import RELU, Dense
from agents.blocks.policies import categorical

# Frames (B, K, C, H, W) and one-hot actions (B, A) -> what comes of them.
World = Callable[[torch.Tensor, torch.Tensor], Outcome]


class Rollouts(NamedTuple):
    """What is imagined of each of A actions: frames (B, A, depth, C, H, W), rewards (B, A,
    depth)."""

    frames: torch.Tensor
    rewards: torch.Tensor


class RolloutPolicy(nn.Module):
    """Frames (B, K, C, H, W) -> logits (B, A): how the agent would go on, told by a small net."""

    def __init__(
        self, shape: tuple[int, int, int], frames: int, actions: int, channels: int, width: int
    ) -> None:
        super().__init__()
        self.eye = Eye(frames * shape[0], shape, channels, width)
        self.logits = Dense(width, actions, norm=False, act=False, outscale=0.01, style=RELU)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """See the class."""
        logits: torch.Tensor = self.logits(self.eye(frames.flatten(1, 2)))
        return logits


class Eye(nn.Module):
    """Planes (B, inputs, H, W) -> (B, width): two convolutions and a dense layer."""

    def __init__(self, inputs: int, shape: tuple[int, int, int], channels: int, width: int) -> None:
        super().__init__()
        self.convs = Convs(inputs, channels)
        self.dense = Dense(channels * shape[1] * shape[2], width, norm=False, act=True, style=RELU)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        y: torch.Tensor = self.dense(self.convs(x).flatten(1))
        return y


@torch.no_grad()
def imagine(
    model: World | None,
    policy: RolloutPolicy,
    frames: torch.Tensor,
    noise: torch.Tensor,
    binary: bool,
) -> Rollouts:
    """One rollout for each first action; the rollout policy takes those that follow.

    Nothing is learned through what is sampled.

    Args:
        model: None for one that says nothing ever changes, and nothing is earned (copy-model).
        policy: chooses every action but the first.
        frames: (B, K, C, H, W).
        noise: (B, A, depth, A) Gumbel; that of the last step is not used.
        binary: whether cells are 0 or 1; imagined ones are then rounded.
    """
    rows, actions, depth = noise.shape[:3]
    x = frames.repeat_interleave(actions, 0)  # row by row: (row, action) as in the noise
    noise = noise.flatten(0, 1)
    action = torch.eye(actions, dtype=x.dtype, device=x.device).repeat(rows, 1)
    seen, rewards = [], []
    for t in range(depth):
        frame, reward = _next(model, x, action, binary)
        seen.append(frame)
        rewards.append(reward)
        if t + 1 < depth:
            x = push(x, frame)
            choice = categorical(policy(x)).sample(noise[:, t])
            action = F.one_hot(choice, actions).to(x.dtype)
    shape = (rows, actions, depth)
    return Rollouts(
        torch.stack(seen, 1).reshape(*shape, *frames.shape[2:]),
        torch.stack(rewards, 1).reshape(shape),
    )


def _next(
    model: World | None, x: torch.Tensor, action: torch.Tensor, binary: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    if model is None:
        return x[:, -1], torch.zeros_like(action[:, 0])
    outcome = model(x, action)
    frame = (outcome.logits > 0).to(x.dtype) if binary else torch.sigmoid(outcome.logits)
    return frame, outcome.reward


class RolloutEncoder(nn.Module):
    """Rollouts (B, A, depth, ...) -> codes (B, A cells).

    Each imagined frame goes through convolutions together with its reward, as one more plane; an
    LSTM reads them from the last to the first, so that what is nearest has the last word.
    """

    def __init__(self, shape: tuple[int, int, int], channels: int, width: int, cells: int) -> None:
        super().__init__()
        self.eye = Eye(shape[0] + 1, shape, channels, width)
        self.memory = Memory(width, cells)

    def forward(self, rollouts: Rollouts) -> torch.Tensor:
        """See the class."""
        rows, actions, depth = rollouts.rewards.shape
        frames = rollouts.frames.flatten(0, 2)
        plane = rollouts.rewards.reshape(-1, 1, 1, 1).expand(-1, 1, *frames.shape[-2:])
        seen = self.eye(torch.cat([frames, plane], 1)).reshape(rows * actions, depth, -1)
        state = seen.new_zeros(rows * actions, 2 * self.memory.cells)
        for t in reversed(range(depth)):
            state = self.memory(seen[:, t], state)
        codes: torch.Tensor = state[:, : self.memory.cells]
        return codes.reshape(rows, -1)
