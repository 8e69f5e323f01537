"""The picture that a camera shows on average, for robots whose pictures hardly change.

A ball of twenty pixels in an arena of four thousand is half a percent of a picture's error. A
model that predicts the arena has explained nearly everything, the divergence's price keeps the
rest out of the state, and the ball is never found. So the networks see and predict what differs
from the mean, and errors also count when averaged over larger patches, where a ball that is drawn
near its place is better than none: a gradient that pixels do not have.

(Our own; no generation of Dreamer does so. Measured with the Sphero: `benchmarks/service.py`.)
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

GAIN = 5.0  # of what differs, which is small
PATCHES = (4, 8, 16)  # sides of the averaged patches, in pixels
_SLOWEST = 1e-3  # share of a batch in the mean, in the long run: light changes
_DARKEST = 1e-3  # a mean pixel has a finite logit


class MeanPicture(nn.Module):
    """Running mean of the pictures of all cameras; grey before the first.

    Args:
        side: H = W.
        channels: C, of all cameras together.
        sigmoid: whether predictions pass a sigmoid.
    """

    mean: torch.Tensor
    updates: torch.Tensor

    def __init__(self, side: int, channels: int, sigmoid: bool) -> None:
        super().__init__()
        self.sigmoid = sigmoid
        self.register_buffer("mean", torch.full((side, side, channels), 0.5))
        self.register_buffer("updates", torch.zeros(()))

    @torch.no_grad()
    def update(self, pixels: torch.Tensor) -> None:
        """Take in pixels (..., H, W, C) of 0..1: the mean of all batches, later of the last."""
        self.updates.add_(1)
        share = (1 / self.updates).clamp(min=_SLOWEST)
        self.mean.lerp_(pixels.float().flatten(0, -4).mean(0), share)

    def changes(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (..., H, W, C) of 0..1 -> how they differ from the mean, enlarged."""
        return GAIN * (pixels - self.mean.to(pixels.dtype))

    def drawn(self, raw: torch.Tensor) -> torch.Tensor:
        """Raw predictions (..., H, W, C) -> pixels; those of zero are the mean's."""
        if not self.sigmoid:
            return raw + self.mean
        return torch.sigmoid(raw + torch.logit(self.mean, _DARKEST))


def coarse_errors(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Pixels (..., H, W, C) -> (...) squared errors of patches' means, summed.

    A patch of side s counts s^4 / 4: an error that fills it entirely weighs s^2 / 4 times what its
    pixels do. Patches of more than a quarter of the side are left out.
    """
    error = pred.float() - target.detach().float()
    planes = error.flatten(0, -4).permute(0, 3, 1, 2)  # (N, C, H, W)
    sides = [side for side in PATCHES if 4 * side <= planes.shape[-1]]
    total = sum(
        (F.avg_pool2d(planes, side).square().sum((1, 2, 3)) * side**4 / 4 for side in sides),
        start=planes.new_zeros(len(planes)),
    )
    return total.reshape(error.shape[:-3])
