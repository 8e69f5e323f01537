"""How observations and actions enter the networks, and how actions leave them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.errors import UnsupportedSpace
from agents.world.coding import Coding
from agents.world.sizes import Size
from robot_client.schema import ActionSpace


@dataclass(frozen=True)
class Layout:
    """An observation space, sorted by what its keys are; each part in order of the keys' names.

    Args:
        shapes: shape of one row of each vector.
        classes: number of values of each discrete key.
        images: channels of each image.
        resolution: height and width of every image; 0 without images.
    """

    shapes: dict[str, tuple[int, ...]]
    classes: dict[str, int]
    images: dict[str, int]
    resolution: int

    @property
    def widths(self) -> dict[str, int]:
        """Numbers with which each vector and each discrete key enters, by name, sorted."""
        flat = {key: int(np.prod(shape)) for key, shape in self.shapes.items()}
        return dict(sorted({**flat, **self.classes}.items()))

    def flat(self, key: str, value: torch.Tensor) -> torch.Tensor:
        """A vector (..., *shape) as (..., width)."""
        lead = value.shape[: value.ndim - len(self.shapes[key])]
        return value.reshape(*lead, -1)


def layout(space: spaces.Dict, size: Size, coding: Coding) -> Layout:
    """Sort the keys of an observation space. Raises UnsupportedSpace naming the key at fault."""
    shapes, classes, images = {}, {}, {}
    sides: set[tuple[int, ...]] = set()
    for key in sorted(space.spaces):
        part = space.spaces[key]
        if isinstance(part, spaces.Discrete):
            classes[key] = int(part.n)
        elif isinstance(part, spaces.Box) and part.dtype == np.float32 and 0 not in part.shape:
            shapes[key] = part.shape
        elif isinstance(part, spaces.Box) and part.dtype == np.uint8 and len(part.shape) == 3:
            images[key] = part.shape[2]
            sides.add(part.shape[:2])
            _check_image(f"observation.{key}", part.shape, sides, size, coding)
        else:
            raise UnsupportedSpace(
                f"observation.{key}", "float32, Discrete, or a uint8 image (H, W, C)", part
            )
    if not (shapes or classes or images):
        raise UnsupportedSpace("observation", "at least one key", space)
    return Layout(shapes, classes, images, min(sides)[0] if sides else 0)


def _check_image(
    field: str, shape: tuple[int, ...], sides: set[tuple[int, ...]], size: Size, coding: Coding
) -> None:
    if len(sides) > 1:
        raise UnsupportedSpace(field, "images all of one size", sorted(sides))
    if shape[0] != shape[1] or shape[2] == 0 or not coding.depths(size, shape[0]):
        raise UnsupportedSpace(field, coding.fitting(size), shape)


class ActionCodec(nn.Module):
    """Between the robot's actions and the networks'.

    Bounded numbers become -1..1, unbounded ones stay as they are, discrete actions are one-hot.

    Raises:
        UnsupportedSpace: neither Discrete nor a float32 Box of one axis with low < high.
    """

    scale: torch.Tensor
    middle: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, space: ActionSpace) -> None:
        super().__init__()
        self.discrete = isinstance(space, spaces.Discrete)
        if isinstance(space, spaces.Discrete):
            self.width = int(space.n)
            return
        if not (isinstance(space, spaces.Box) and space.dtype == np.float32 and space.shape):
            raise UnsupportedSpace("action", "Discrete, or Box of float32", space)
        if len(space.shape) != 1 or not (space.low < space.high).all():
            raise UnsupportedSpace("action", "a Box of one axis, with low < high", space)
        self.width = space.shape[0]
        bounded = np.isfinite(space.low) & np.isfinite(space.high)
        low, high = (np.where(bounded, x, y) for x, y in ((space.low, -1.0), (space.high, 1.0)))
        self._keep("scale", (high - low) / 2)
        self._keep("middle", (high + low) / 2)
        self._keep("low", space.low)
        self._keep("high", space.high)

    def _keep(self, name: str, value: np.ndarray) -> None:
        self.register_buffer(name, torch.as_tensor(value, dtype=torch.float32), persistent=False)

    def encode(self, action: torch.Tensor) -> torch.Tensor:
        """Robot's action (..., A) float, or (...) integer, to (..., A) float."""
        if self.discrete:
            return F.one_hot(action.long(), self.width).to(torch.get_default_dtype())
        return (action - self.middle) / self.scale

    def drive(self, sampled: torch.Tensor) -> torch.Tensor:
        """A policy's sample, (..., A) or (...) indices, in the form that the core takes."""
        return self.encode(sampled) if self.discrete else sampled

    def decode(self, action: torch.Tensor) -> torch.Tensor:
        """Inverse of `encode`: clipped to the space's bounds, or the largest of the (..., A)."""
        if self.discrete:
            return action.argmax(-1)
        return (action * self.scale + self.middle).clamp(self.low, self.high)
