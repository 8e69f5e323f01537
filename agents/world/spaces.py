"""How observations enter the networks of a world model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces

from agents.errors import UnsupportedSpace
from agents.world.coding import Coding
from agents.world.sizes import Size


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
