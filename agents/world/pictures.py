"""What a world model predicted beside what happened, for people to look at."""

from __future__ import annotations

import torch

from agents.world.decoder import to_image


def film(truth: torch.Tensor, pred: torch.Tensor) -> torch.Tensor:
    """(B, T, H, W, C) twice -> truth, prediction and error above each other, windows abreast."""
    drawn = to_image(pred)
    error = (drawn.int() - truth.int()).div(2).add(128).clamp(0, 255).to(torch.uint8)
    return torch.cat([torch.cat([*part], -2) for part in (truth, drawn, error)], -3)


def signals(truth: torch.Tensor, pred: torch.Tensor) -> torch.Tensor:
    """(B, T, ...) twice -> the first window's (T, K, 2), at most 8 numbers of it."""
    flat = truth[0].flatten(1)
    return torch.stack([flat, pred[0].reshape(flat.shape)], -1)[:, :8]
