"""Pictures of robots' cameras, one or many."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_LONGEST_MS = 65_535  # of a frame: the format has 16 bits for it


def encode_png(frame: NDArray[np.uint8]) -> bytes:
    """A picture (H, W, 1 or 3) as PNG."""
    out = io.BytesIO()
    _image(frame).save(out, "PNG")
    return out.getvalue()


def encode_film(frames: Sequence[NDArray[np.uint8]], seconds: float) -> bytes:
    """Pictures (H, W, 1 or 3) as an animated PNG that lasts so long. Lossless; any browser shows
    it, and no codec has to be installed."""
    first, *others = [_image(frame) for frame in frames]
    out = io.BytesIO()
    each = min(_LONGEST_MS, max(1, round(1000 * seconds / len(frames))))
    first.save(out, "PNG", save_all=True, append_images=others, duration=each, loop=0)
    return out.getvalue()


def _image(frame: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)
