"""How observations enter a world model and leave it again, from one generation to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from agents.blocks.nets import ELU, MODERN, NORMED_ELU, RELU, Style
from agents.blocks.scalars import symlog
from agents.world.sizes import MAX_RESOLUTION, MIN_RESOLUTION, Size

Convolution = Literal["pooled", "strided", "valid"]


@dataclass(frozen=True)
class Coding:
    """What encoder and decoder do to each kind of observation.

    Args:
        dense: style of the layers that vectors pass.
        conv: style of the convolutions.
        convolution: "pooled", stages of kernel 5 and a pool; "strided", kernel 5 and stride 2, a
            quarter of the work; "valid", kernel 4, stride 2 and no padding.
        symlog: vectors are squashed by symlog, on both sides; else they stay as they are.
        sigmoid: predicted pixels pass a sigmoid; else they are numbers around the middle grey.
        halved: squared errors count half, as the log-likelihood of a normal distribution with
            deviation 1 has them; else in full.
        middle: what is taken from pixels of 0..1 when they enter.
        own_units: vectors enter and leave in deviations from their mean, see `VectorUnits`.
        changes: pictures enter and leave as what differs from their mean, see `MeanPicture`.
        bits: of a pixel; what is finer is neither seen nor to be predicted.
        spread: a dense layer stands before the first transposed convolution ("valid" only).
        vector_scale: weight of the errors of vectors.
        outscale: of the start of the predictions of vectors and discrete keys.
    """

    dense: Style
    conv: Style
    convolution: Convolution
    symlog: bool = False
    sigmoid: bool = False
    halved: bool = False
    middle: float = 0.5
    own_units: bool = False
    changes: bool = False
    bits: int = 8
    spread: bool = True
    vector_scale: float = 1.0
    outscale: float = 1.0

    def pixels(self, image: torch.Tensor) -> torch.Tensor:
        """Values 0..255, of a floating type, as 0..1.

        Below 8 bits, each is the middle of its step: what PlaNet's noise, uniform over the step,
        is on average. Without noise the same picture always looks the same.
        """
        if self.bits == 8:
            return image / 255
        step = 1 << (8 - self.bits)
        return (torch.floor(image / step) + 0.5) * (step / 256)

    def drawn(self, raw: torch.Tensor) -> torch.Tensor:
        """Raw predictions of pixels as pixels, where 0 is black and 1 white."""
        return raw.sigmoid() if self.sigmoid else raw + 0.5

    def numbers(self, vector: torch.Tensor) -> torch.Tensor:
        """A vector as the networks take and predict it."""
        return symlog(vector) if self.symlog else vector

    def depths(self, size: Size, resolution: int) -> tuple[int, ...]:
        """Channels of each stage for square images; () where no number of stages fits."""
        if self.convolution == "valid":
            return size.unpadded_depths(resolution)
        return size.depths(resolution)

    def side(self, resolution: int, stages: int) -> int:
        """Height and width that `stages` of the encoder leave of a picture."""
        return 2 if self.convolution == "valid" else resolution >> stages

    def fitting(self, size: Size) -> str:
        """Which images `depths` takes, in words."""
        if self.convolution == "valid":
            sides = ", ".join(str(4 << stages) for stages in range(2, len(size.mults) + 1))
            return f"a square image with a side of {sides}"
        rest = f"{MIN_RESOLUTION}..{MAX_RESOLUTION}"
        return f"a square image that halved up to {len(size.mults)} times has a side of {rest}"


# Hafner et al. 2019.
PLANET = Coding(RELU, RELU, "valid", halved=True, bits=5)
# Hafner et al. 2020.
DREAMER_V1 = Coding(ELU, RELU, "valid", halved=True)
# Hafner et al. 2021.
DREAMER_V2 = Coding(ELU, ELU, "valid", halved=True)
# Wu et al. 2022. Its code starts the encoder's convolutions as if their kernels had one pixel,
# four times as wide as here; the norm behind each takes that out again.
DAYDREAMER = Coding(
    NORMED_ELU, NORMED_ELU, "valid", sigmoid=True, middle=0.0, spread=False, outscale=0.1
)
# Hafner et al. 2025.
DREAMER_V3 = Coding(MODERN, MODERN, "pooled", symlog=True, sigmoid=True)
