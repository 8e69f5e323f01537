"""Kinds of stochastic state: what the core's outputs mean, how one is drawn, how it is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.blocks import dists
from agents.blocks.dists import GaussianLatent, OneHotLatent, gaussian_latent, one_hot_latent
from agents.world.sizes import Size
from robot_client.bundle import NoiseKind, TensorSpec

LatentName = Literal["categorical", "gaussian"]


class Latent(ABC):
    """One kind of stochastic state.

    Attributes:
        shape: of one state: (S, K) or (S,).
        raw_shape: of the core's outputs for one state, which `dist` takes.
        noise: what a draw needs, in the form of `shape`.
        stored: how one state is kept with a row.
    """

    shape: tuple[int, ...]
    raw_shape: tuple[int, ...]
    noise: NoiseKind
    stored: TensorSpec

    @abstractmethod
    def dist(self, raw: torch.Tensor) -> dists.Latent:
        """The core's outputs (..., *raw_shape) as a distribution of (..., *shape)."""

    @abstractmethod
    def pack(self, stoch: torch.Tensor) -> torch.Tensor:
        """(..., *shape) -> (..., *stored.shape)."""

    @abstractmethod
    def unpack(self, stored: torch.Tensor) -> torch.Tensor:
        """Inverse of `pack`."""


class Categorical(Latent):
    """S one-hot groups of K classes, with straight-through gradients (Dreamer V2 and later)."""

    noise: NoiseKind = "gumbel"

    def __init__(self, groups: int, classes: int, unimix: float) -> None:
        self.shape = self.raw_shape = (groups, classes)
        self.stored = TensorSpec("uint8", (groups,))
        self.unimix = unimix

    def dist(self, raw: torch.Tensor) -> OneHotLatent:
        """See `Latent`."""
        return one_hot_latent(raw, self.unimix)

    def pack(self, stoch: torch.Tensor) -> torch.Tensor:
        """The classes: (..., S) uint8."""
        return stoch.argmax(-1).to(torch.uint8)

    def unpack(self, stored: torch.Tensor) -> torch.Tensor:
        """See `Latent`."""
        return F.one_hot(stored.long(), self.shape[-1]).to(torch.get_default_dtype())


class Gaussian(Latent):
    """S normal numbers; the core yields their means and raw deviations (PlaNet, Dreamer V1)."""

    noise: NoiseKind = "normal"

    def __init__(self, width: int) -> None:
        self.shape, self.raw_shape = (width,), (2, width)
        self.stored = TensorSpec("float16", (width,))

    def dist(self, raw: torch.Tensor) -> GaussianLatent:
        """See `Latent`."""
        return gaussian_latent(raw)

    def pack(self, stoch: torch.Tensor) -> torch.Tensor:
        """(..., S) float16."""
        return stoch.half()

    def unpack(self, stored: torch.Tensor) -> torch.Tensor:
        """See `Latent`."""
        return stored.to(torch.get_default_dtype())


LATENTS: dict[LatentName, Callable[[Size, float], Latent]] = {
    "categorical": lambda size, unimix: Categorical(size.stoch, size.classes, unimix),
    "gaussian": lambda size, unimix: Gaussian(size.stoch),
}
