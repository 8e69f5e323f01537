"""How large the networks are."""

from __future__ import annotations

from dataclasses import dataclass

MIN_RESOLUTION, MAX_RESOLUTION = 3, 16  # of an image after its last stage


@dataclass(frozen=True)
class Size:
    """Widths of one world model.

    Args:
        deter: D, deterministic state; a multiple of `blocks`.
        hidden: width of the layers inside the recurrent core.
        classes: K, classes of each group of the stochastic state.
        depth: channels of an image's stages are `depth` times `mults`.
        units: width of the layers of encoder, decoder and heads.
        stoch: S, groups of the stochastic state.
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
    def features(self) -> int:
        """F."""
        return self.deter + self.stoch * self.classes

    def depths(self, resolution: int) -> tuple[int, ...]:
        """Channels of each halving stage for square images; () where no number of stages fits.

        Small images take fewer stages, the deepest ones.
        """
        for stages in range(len(self.mults), 0, -1):
            rest, odd = divmod(resolution, 2**stages)
            if not odd and MIN_RESOLUTION <= rest <= MAX_RESOLUTION:
                return tuple(self.depth * mult for mult in self.mults[-stages:])
        return ()


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
