"""Square worlds as planes: what is seen of them, its last few frames, and a model of what comes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.agent import Tensors
from agents.blocks.nets import RELU, Dense, init_conv_
from agents.errors import UnsupportedSpace

_PERSISTENCE = 4.0  # logit at first of what is there being there a step later


class Planes(nn.Module):
    """The one observation that is a grid or a picture, as planes of numbers in 0..1.

    Raises UnsupportedSpace when it is not (H, W, C), of float32 within 0..1 or of uint8.
    """

    def __init__(self, seen: spaces.Dict) -> None:
        super().__init__()
        expected = "one of shape (H, W, C): float32 within 0..1, or uint8"
        if len(seen.spaces) != 1:
            raise UnsupportedSpace("observation", expected, sorted(seen.spaces))
        self.key, space = next(iter(seen.spaces.items()))
        if not isinstance(space, spaces.Box) or len(space.shape) != 3:
            raise UnsupportedSpace(f"observation.{self.key}", expected, space)
        self.binary = space.dtype == np.float32 and bool((space.low == 0).all())
        self.binary = self.binary and bool((space.high == 1).all())
        if space.dtype != np.uint8 and not self.binary:
            raise UnsupportedSpace(f"observation.{self.key}", expected, space)
        height, width, channels = space.shape
        self.shape = (channels, height, width)

    def forward(self, obs: Tensors) -> torch.Tensor:
        """Raw observations (B, ...) by key, and perhaps others -> (B, C, H, W) in 0..1."""
        raw = obs[self.key].permute(0, 3, 1, 2)
        return raw if self.binary else raw.float() / 255


def push(past: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
    """Frames (B, K, C, H, W), the newest last, and what comes then (B, C, H, W) -> frames."""
    return torch.cat([past[:, 1:], now[:, None]], 1)


def begun(past: torch.Tensor, now: torch.Tensor, is_first: torch.Tensor) -> torch.Tensor:
    """As `push`; where (B,) an episode begins, what came before looks like what is seen."""
    fresh = now[:, None].expand_as(past)
    return torch.where(is_first[:, None, None, None, None], fresh, push(past, now))


def frames_of(planes: torch.Tensor, is_first: torch.Tensor, count: int) -> torch.Tensor:
    """(B, T, C, H, W) -> the last `count` frames at each row, (B, T, K, C, H, W)."""
    past = planes[:, :1].expand(-1, count, *planes.shape[2:])
    found = []
    for t in range(planes.shape[1]):
        past = begun(past, planes[:, t], is_first[:, t])
        found.append(past)
    return torch.stack(found, 1)


class Convs(nn.Module):
    """Two convolutions that keep the size, (B, inputs, H, W) -> (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        sizes = [(inputs, outputs), (outputs, outputs)]
        self.layers = nn.ModuleList(
            init_conv_(nn.Conv2d(a, b, 3, padding=1), style=RELU) for a, b in sizes
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        for layer in self.layers:
            x = F.relu(layer(x))
        return x


class Outcome(NamedTuple):
    """What a model says comes of an action: logits (B, C, H, W) of the next frame, reward (B,)."""

    logits: torch.Tensor
    reward: torch.Tensor


class EnvironmentModel(nn.Module):
    """Frames and an action -> the next frame and its reward.

    The action is broadcast over the grid. Every cell is predicted for itself, starting from what
    is there; each layer also sees its maximum over the whole grid (the paper's pool-and-inject).

    Args:
        shape: (C, H, W) of a frame.
        frames: how many it sees.
        actions: A.
        width: channels.
    """

    def __init__(self, shape: tuple[int, int, int], frames: int, actions: int, width: int) -> None:
        super().__init__()
        self.actions = actions
        self.below = Convs(frames * shape[0] + actions, width)
        self.above = Convs(2 * width, width)
        self.frame = init_conv_(nn.Conv2d(width, shape[0], 1), outscale=0.1, style=RELU)
        self.reward = nn.Sequential(
            Dense(2 * width, width, norm=False, act=True, style=RELU),
            Dense(width, 1, norm=False, act=False, style=RELU),
        )

    def forward(self, frames: torch.Tensor, action: torch.Tensor) -> Outcome:
        """(B, K, C, H, W) and one-hot (B, A)."""
        x = torch.cat([frames.flatten(1, 2), _broadcast(action, frames)], 1)
        x = self.below(x)
        x = self.above(torch.cat([x, x.amax((2, 3), keepdim=True).expand_as(x)], 1))
        logits = self.frame(x) + _PERSISTENCE * (2 * frames[:, -1] - 1)
        pooled = torch.cat([x.amax((2, 3)), x.mean((2, 3))], -1)
        return Outcome(logits, self.reward(pooled)[:, 0])


def _broadcast(action: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """(B, A) -> (B, A, H, W)."""
    return action[:, :, None, None].expand(-1, -1, *frames.shape[-2:])


class Experience(nn.Module):
    """The newest rows, on the device, for a model to be fitted to. Frames are kept in 256 levels.

    Args:
        capacity: rows.
        shape: (C, H, W) of a frame.
        frames: how many go before the one to be predicted.
    """

    frames: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    written: torch.Tensor

    def __init__(self, capacity: int, shape: tuple[int, int, int], frames: int) -> None:
        super().__init__()
        self.capacity = capacity
        full = torch.zeros(capacity, frames + 1, *shape, dtype=torch.uint8)
        self.register_buffer("frames", full)
        self.register_buffer("action", torch.zeros(capacity, dtype=torch.int64))
        self.register_buffer("reward", torch.zeros(capacity))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def write(self, frames: torch.Tensor, action: torch.Tensor, reward: torch.Tensor) -> None:
        """Add (N, K + 1, C, H, W) in 0..1, (N,) and (N,), in place of the oldest."""
        frames, action, reward = (x[-self.capacity :] for x in (frames, action, reward))
        places = (self.written + torch.arange(len(action), device=action.device)) % self.capacity
        self.frames.index_copy_(0, places, (frames * 255).round().to(torch.uint8))
        self.action.index_copy_(0, places, action)
        self.reward.index_copy_(0, places, reward)
        self.written.add_(len(action))

    def draw(
        self, count: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """So many rows as they were written, uniformly."""
        uniform = torch.rand(count, generator=generator, device=self.action.device)
        filled = self.written.clamp(1, self.capacity)
        rows = (uniform * filled).long().clamp(max=self.capacity - 1)
        return self.frames[rows].float() / 255, self.action[rows], self.reward[rows]
