"""Draws what an agent reports: film strips of videos, and curves of truth against prediction."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_TILE = 96
_COLUMNS = 12
_PANEL = (560, 90)
_INK, _TRUTH, _PREDICTION, _PAPER = "#8b949e", "#57606a", "#d1570c", "#ffffff"


def picture(data: NDArray[Any]) -> bytes:
    """Draw one reported array as PNG.

    Args:
        data: a video (T, H, W, C) uint8, drawn as a strip of frames; or signals (T, K, 2) float,
            truth and prediction of K numbers over time, drawn as K panels.
    """
    assert data.ndim in (3, 4), data.shape
    image = _strip(data) if data.ndim == 4 else _panels(data)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _strip(video: NDArray[np.uint8]) -> Image.Image:
    """Frames side by side, evenly spaced in time, enlarged without smoothing."""
    steps, height, width, channels = video.shape
    picked = np.linspace(0, steps - 1, min(steps, _COLUMNS)).round().astype(int)
    strip = np.concatenate(list(video[picked]), axis=1)
    strip = np.repeat(strip, 3, axis=2) if channels == 1 else strip[..., :3]
    scale = max(1, _TILE // width)
    return Image.fromarray(strip).resize(
        (strip.shape[1] * scale, height * scale), Image.Resampling.NEAREST
    )


def _panels(signals: NDArray[np.float32]) -> Image.Image:
    count = signals.shape[1]
    image = Image.new("RGB", (_PANEL[0], _PANEL[1] * count), _PAPER)
    draw = ImageDraw.Draw(image)
    for index in range(count):
        _panel(draw, _PANEL[1] * index, signals[:, index])
    return image


def _panel(draw: ImageDraw.ImageDraw, top: int, pair: NDArray[np.float32]) -> None:
    """Draw truth and prediction (T, 2) into the panel that starts at `top`."""
    low, high = float(pair.min()), float(pair.max())
    span = max(high - low, 1e-6)
    x = np.linspace(8, _PANEL[0] - 8, len(pair))
    for column, colour in ((0, _TRUTH), (1, _PREDICTION)):
        y = top + _PANEL[1] - 10 - (pair[:, column] - low) / span * (_PANEL[1] - 24)
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=colour, width=2)
    draw.text((8, top), f"{low:.2f} to {high:.2f}", fill=_INK)
