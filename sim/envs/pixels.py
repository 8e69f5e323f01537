"""Pictures of square worlds: small sprites written as text, laid as tiles, and enlarged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3)

TILE = 8  # pixels, side of a sprite
METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}
RENDER_PIXELS = 256  # about the longer side of a picture for people

COLOURS: dict[str, tuple[int, int, int]] = {
    "k": (30, 28, 38),  # ink
    "w": (250, 250, 250),
    "f": (226, 217, 198),  # floor
    "g": (118, 126, 146),  # brick
    "m": (74, 79, 96),  # mortar
    "l": (221, 160, 84),  # wood, light
    "n": (142, 88, 40),  # wood, dark
    "v": (132, 204, 112),  # leaf, light
    "d": (52, 124, 58),  # leaf, dark
    "r": (214, 52, 52),
    "s": (244, 196, 156),  # skin
    "b": (48, 92, 200),
    "c": (64, 200, 224),  # cyan
    "y": (252, 216, 48),
    "p": (248, 120, 180),  # pink
    "e": (16, 16, 28),  # night
    "u": (36, 52, 148),  # night blue
}

BRICKS = "gggmgggg gggmgggg mmmmmmmm gggggggm gggggggm mmmmmmmm gggmgggg mmmmmmmm"
PERSON = "..kkkk.. ..kssk.. ..ssss.. .bbbbbb. s.bbbb.s ..bbbb.. ..b..b.. .kk..kk."
FLAG = "..kr.... ..krrr.. ..krrrr. ..krrr.. ..kr.... ..k..... ..k..... .kkk...."


def plain(colour: str) -> Picture:
    """A tile (8, 8, 3) of one colour."""
    return np.full((TILE, TILE, 3), COLOURS[colour], np.uint8)


def sprite(art: str, under: Picture) -> Picture:
    """A tile (8, 8, 3): eight words of eight letters of `COLOURS`; a dot shows what is under it."""
    tile = under.copy()
    for row, word in enumerate(art.split()):
        for column, letter in enumerate(word):
            if letter != ".":
                tile[row, column] = COLOURS[letter]
    return tile


def mosaic(codes: NDArray[np.integer[Any]], tiles: NDArray[np.uint8]) -> Picture:
    """Tiles (K, t, t, 3) laid by their numbers (H, W): (H t, W t, 3)."""
    (height, width), side = codes.shape, tiles.shape[1]
    rows: Picture = tiles[codes].transpose(0, 2, 1, 3, 4)
    return rows.reshape(height * side, width * side, 3)


def halved(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Tiles (K, t, t, 3) at half their side; each pixel is the mean of four."""
    count, side = tiles.shape[0], tiles.shape[1] // 2
    means: NDArray[np.float64] = tiles.reshape(count, side, 2, side, 2, 3).mean((2, 4))
    return means.round().astype(np.uint8)


def enlarged(picture: Picture) -> Picture:
    """Every pixel as a square, so that the longer side is about `RENDER_PIXELS`."""
    factor = max(1, round(RENDER_PIXELS / max(picture.shape[:2])))
    return picture.repeat(factor, 0).repeat(factor, 1)


def rods(lines: Sequence[tuple[float, float, float, float, str]]) -> Picture:
    """A picture (256, 256, 3) of thick lines from x, y to x, y in -1..1, y upwards, in colours."""
    picture = np.full((RENDER_PIXELS, RENDER_PIXELS, 3), COLOURS["f"], np.uint8)
    for x0, y0, x1, y1, colour in lines:
        share = np.linspace(0, 1, RENDER_PIXELS)
        along = np.stack([y0 + share * (y1 - y0), -x0 - share * (x1 - x0)])
        row, column = ((1 - along) / 2 * RENDER_PIXELS).astype(int).clip(2, RENDER_PIXELS - 3)
        for down in range(-2, 3):
            for right in range(-2, 3):
                picture[row + down, column + right] = COLOURS[colour]
    return picture


class Drawn(gymnasium.Env[Any, np.int64]):
    """An environment that can draw itself. Subclasses give `_picture`.

    Raises ValueError when the render mode is not one of `metadata["render_modes"]`.
    """

    metadata = METADATA

    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode: expected rgb_array or None, got {render_mode!r}")
        self.render_mode = render_mode

    def render(self) -> Picture | None:
        """The present state for people, (H, W, 3), about 256 pixels; None without render mode."""
        return None if self.render_mode is None else enlarged(self._picture())

    def _picture(self) -> Picture:
        """At its natural size."""
        raise NotImplementedError
