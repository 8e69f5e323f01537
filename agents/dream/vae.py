"""V: a convolutional variational auto-encoder of single pictures (World Models, appendix A.1)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from agents.errors import UnsupportedSpace

PAPER_SIDE = 64
_SMALL_MIN, _SMALL_MAX = 16, 64  # sides of pictures that the small one takes, in steps of 8
_DEPTHS = {True: (32, 64, 128, 256), False: (16, 32, 64)}
_MAX_LOGVAR = 10.0  # e^5 deviations: only what has diverged is beyond


class VAE(nn.Module):
    """Square pictures of C channels <-> `latent` numbers.

    Sides of 64 get the paper's layers: four convolutions 4 x 4 of stride 2 without a frame, a dense
    layer of 1024, four transposed ones. Others get three with a frame and half as many channels.
    Raises UnsupportedSpace for other sides.
    """

    def __init__(self, side: int, channels: int, latent: int) -> None:
        super().__init__()
        if side not in range(_SMALL_MIN, _SMALL_MAX + 1, 8):
            expected = f"square pictures of {_SMALL_MIN} to {_SMALL_MAX} pixels, in steps of 8"
            raise UnsupportedSpace("observation", expected, f"{side} pixels")
        paper = side == PAPER_SIDE
        self.latent = latent
        self.encoder = Encoder(side, channels, latent, paper)
        self.decoder = Decoder(side, channels, latent, paper)

    def loss(
        self, pixels: torch.Tensor, noise: torch.Tensor, free: float
    ) -> dict[str, torch.Tensor]:
        """What pictures (N, C, H, W) in 0..1 cost, with normal noise (N, Z): means over pictures.

        The error is the *sum* of squares over a picture (the mean would let the divergence win),
        and the divergence from N(0, 1) costs at least `free` nats per latent number, as in the
        public code: KL below Z free has no gradient.
        """
        mean, logvar = self.encoder(pixels)
        drawn = self.decoder(reparameterised(mean, logvar, noise))
        error = (drawn - pixels).square().flatten(1).sum(-1).mean()
        divergence = kl_to_unit(mean, logvar)
        kept = divergence.clamp(min=free * self.latent).mean()
        return {"error": error, "divergence": divergence.mean(), "total": error + kept}


class Encoder(nn.Module):
    """(N, C, H, W) in 0..1 -> means and logarithms of variances, (N, Z) each."""

    def __init__(self, side: int, channels: int, latent: int, paper: bool) -> None:
        super().__init__()
        depths, frame = _DEPTHS[paper], 0 if paper else 1
        pairs = pairwise((channels, *depths))
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 4, 2, frame) for a, b in pairs)
        left = 2 if paper else side // 8
        self.mean = nn.Linear(depths[-1] * left**2, latent)
        self.logvar = nn.Linear(depths[-1] * left**2, latent)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        for layer in self.layers:
            pixels = layer(pixels).relu()
        flat = pixels.flatten(1)
        return self.mean(flat), self.logvar(flat).clamp(-_MAX_LOGVAR, _MAX_LOGVAR)


class Decoder(nn.Module):
    """(N, Z) -> (N, C, H, W) in 0..1."""

    def __init__(self, side: int, channels: int, latent: int, paper: bool) -> None:
        super().__init__()
        depths = _DEPTHS[paper][::-1]
        self.left = 1 if paper else side // 8
        self.first = 1024 if paper else depths[0]
        self.dense = nn.Linear(latent, self.first * self.left**2)
        widths = list(pairwise((self.first, *depths[1:], channels)))
        kernels = (5, 5, 6, 6) if paper else (4, 4, 4)
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(a, b, kernel, 2, 0 if paper else 1)
            for (a, b), kernel in zip(widths, kernels, strict=True)
        )

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """See the class."""
        grid = self.dense(latent).reshape(-1, self.first, self.left, self.left)
        for layer in self.layers[:-1]:
            grid = layer(grid).relu()
        pixels: torch.Tensor = self.layers[-1](grid).sigmoid()
        return pixels


def reparameterised(mean: torch.Tensor, logvar: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """A sample of N(mean, e^logvar), moved by standard normal noise; all (..., Z)."""
    return mean + (0.5 * logvar).exp() * noise


def kl_to_unit(mean: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """(...) KL(N(mean, e^logvar) || N(0, 1)) in nats, summed over (..., Z)."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(-1)
