"""Films of what is seen and dreamt, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

import torch

_COLOURS = (1, 3)  # channels that can be shown


def shown(pixels: torch.Tensor, channels: int) -> torch.Tensor:
    """(B, T, C, H, W) in 0..1 -> (T, H, W', c) uint8: abreast, the first picture's channels alone,
    or the first of those."""
    kept = channels if channels in _COLOURS else 1
    film = pixels[:, :, :kept].mul(255).round().clamp(0, 255).to(torch.uint8)
    return torch.cat([*film.permute(0, 1, 3, 4, 2)], 2)


def films(rows: Sequence[torch.Tensor], channels: int) -> torch.Tensor:
    """Several such, under each other."""
    return torch.cat([shown(row, channels) for row in rows], 1)
