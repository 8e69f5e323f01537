"""How large the networks are."""

from __future__ import annotations

from dataclasses import dataclass

MIN_RESOLUTION, MAX_RESOLUTION = 3, 16  # of an image after its last stage
DOUBLING = (1, 2, 4, 8, 16)  # channels of the stages from PlaNet to DayDreamer


@dataclass(frozen=True)
class Size:
    """Widths of one world model.

    Args:
        deter: D, deterministic state; a multiple of `blocks`.
        hidden: width of the layers inside the recurrent core.
        classes: K, classes of each group of the stochastic state; 0: it is `stoch` real numbers.
        depth: channels of an image's stages are `depth` times `mults`.
        units: width of the layers of encoder, decoder and heads.
        stoch: S, groups (or numbers) of the stochastic state.
        blocks: blocks of the block-diagonal layers.
        layers: layers of the vector encoder and decoder.
        mults: see `depth`; the last one times `depth` is a multiple of `blocks`.
    """

    deter: int
    hidden: int
    classes: int
    depth: int
    units: int
    stoch: int = 32
    blocks: int = 8
    layers: int = 3
    mults: tuple[int, ...] = (2, 3, 4, 4)

    @property
    def flat(self) -> int:
        """Numbers in the stochastic state."""
        return self.stoch * max(self.classes, 1)

    @property
    def features(self) -> int:
        """F."""
        return self.deter + self.flat

    def depths(self, resolution: int) -> tuple[int, ...]:
        """Channels of each halving stage for square images; () where no number of stages fits.

        Small images take fewer stages, the deepest ones.
        """
        for stages in range(len(self.mults), 0, -1):
            rest, odd = divmod(resolution, 2**stages)
            if not odd and MIN_RESOLUTION <= rest <= MAX_RESOLUTION:
                return tuple(self.depth * mult for mult in self.mults[-stages:])
        return ()

    def unpadded_depths(self, resolution: int) -> tuple[int, ...]:
        """Channels of each stage of kernel 4, stride 2 and no padding; () where they do not fit.

        Such stages take a side of 16, 32, 64, ... down to 2, and the decoder's draw just those
        sides. Small images take fewer stages, the shallowest ones.
        """
        stages = resolution.bit_length() - 3
        if not 2 <= stages <= len(self.mults) or resolution != 4 << stages:
            return ()
        return tuple(self.depth * mult for mult in self.mults[:stages])


def _size(width: int) -> Size:
    return Size(8 * width, width, width // 16, width // 16, width)


SIZES: dict[str, Size] = {
    "tiny": Size(deter=128, hidden=48, classes=8, depth=4, units=48, stoch=16),
    "1M": _size(64),
    "12M": _size(256),
    "25M": _size(384),
    "50M": _size(512),
    "100M": _size(768),
    "200M": _size(1024),
    "400M": _size(1536),
}


def _gaussian(depth: int, units: int, layers: int, deter: int = 200, stoch: int = 30) -> Size:
    """A size with real numbers as stochastic state and one dense recurrent block."""
    return Size(deter, deter, 0, depth, units, stoch, 1, layers, DOUBLING)


def _categorical(
    deter: int, depth: int, units: int, layers: int = 4, stoch: int = 32, classes: int = 32
) -> Size:
    """A size with classes as stochastic state and one dense recurrent block."""
    return Size(deter, deter, classes, depth, units, stoch, 1, layers, DOUBLING)


# Hafner et al. 2019. It sees pixels only; vectors take as many layers as the reward.
PLANET_SIZES: dict[str, Size] = {
    "tiny": _gaussian(depth=8, units=48, layers=2, deter=64, stoch=16),
    "paper": _gaussian(depth=32, units=300, layers=3),
}
# Hafner et al. 2020. It sees pixels only; vectors take as many layers as Dreamer V2's.
V1_SIZES: dict[str, Size] = {
    "tiny": _gaussian(depth=8, units=48, layers=2, deter=64, stoch=16),
    "paper": _gaussian(depth=32, units=400, layers=4),
}
# Hafner et al. 2021: of the control suite, of Atari, and what the published code starts from.
V2_SIZES: dict[str, Size] = {
    "tiny": _categorical(64, depth=8, units=48, layers=2, stoch=16, classes=8),
    "dmc": _categorical(200, depth=48, units=400),
    "atari": _categorical(600, depth=48, units=400),
    "default": _categorical(1024, depth=48, units=400),
}
# Wu et al. 2022: the A1 quadruped, the two arms and the Sphero, and the published default;
# `tiny` and `small` are ours, for CPUs.
DAYDREAMER_SIZES: dict[str, Size] = {
    "tiny": _categorical(64, depth=8, units=48, layers=2, stoch=16, classes=8),
    "small": _categorical(128, depth=8, units=96, layers=3, stoch=16, classes=8),
    "a1": _categorical(256, depth=64, units=512),
    "arm": _categorical(512, depth=64, units=512),
    "default": _categorical(1024, depth=64, units=512),
}
