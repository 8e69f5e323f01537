"""V and M of one seed of World Models, and how they learn from episodes: the agent's parts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from agents.agent import Tensors
from agents.blocks.actions import ActionCodec
from agents.blocks.adam import FusedAdam
from agents.dream.dreaming import driven
from agents.dream.learning import Warmth, memory_loss
from agents.dream.mdn_rnn import MDNRNN, Memory
from agents.dream.vae import VAE, reparameterised
from robot_client.schema import ACTION, IS_FIRST, IS_LAST, IS_TERMINAL, REWARD

FRAMES = 100  # of an update of V


@dataclass(frozen=True)
class Episodes:
    """What is learned from: E episodes of at most T rows.

    Args:
        pictures: (E, T, H, W, C) uint8.
        actions: (E, T, ...) that followed them.
        rewards: (E, T) that came with them.
        lengths: (E,) rows; what is shorter than T has ended by itself.
    """

    pictures: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    lengths: torch.Tensor

    def rows(self) -> torch.Tensor:
        """(N, H, W, C) every picture that was seen."""
        longest = self.pictures.shape[1]
        return self.pictures[torch.arange(longest) < self.lengths[:, None]]

    def batch(self, chosen: torch.Tensor) -> Tensors:
        """(B, T) rows of some episodes, without what is seen."""
        longest = self.pictures.shape[1]
        place, lengths = torch.arange(longest)[None], self.lengths[chosen][:, None]
        last = place >= lengths - 1  # the padding too: it has no successor to foretell
        return {
            ACTION: self.actions[chosen],
            REWARD: self.rewards[chosen],
            IS_FIRST: (place == 0).expand(last.shape),
            IS_LAST: last,
            IS_TERMINAL: last & (lengths < longest),
        }


class Mind:
    """V and M.

    Args:
        codec: of the actions.
        side, channels: of pictures.
        latent: numbers of V's code.
        units, components: of M.
        seed: of all that is random here.
    """

    def __init__(
        self,
        codec: ActionCodec,
        side: int,
        channels: int,
        latent: int,
        units: int,
        components: int,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.codec, self.latent = codec, latent
        self.vae = VAE(side, channels, latent)
        self.model = MDNRNN(latent, codec.width, units, components)

    def learn(self, episodes: Episodes, see: int, foretell: int, windows: int) -> None:
        """V on single pictures, then M on its codes of whole episodes, `windows` for an update."""
        optimizer, every = FusedAdam(self.vae.parameters(), 1e-3), episodes.rows()
        for _ in range(see):
            chosen = torch.randint(len(every), (FRAMES,), generator=self.generator)
            losses = self.vae.loss(pixels(every[chosen]), self.normal(FRAMES), 0.5)
            _step(optimizer, losses["total"], self.vae, 1e9)
        if not foretell:
            return
        optimizer = FusedAdam(self.model.parameters(), 1e-3)
        mean, logvar = self._coded(episodes.pictures)  # as the paper does: V learns no more
        for _ in range(foretell):
            chosen = torch.randint(len(episodes.lengths), (windows,), generator=self.generator)
            noise = self.normal(windows * mean.shape[1]).reshape(windows, *mean.shape[1:])
            senses = reparameterised(mean[chosen], logvar[chosen], noise)
            batch = episodes.batch(chosen)
            losses = memory_loss(self.model, self.codec, batch, senses, Warmth(0, 10.0))
            _step(optimizer, losses["total"], self.model, 1.0)

    @torch.no_grad()
    def code(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, Z) of raw pictures, drawn."""
        mean, logvar = self.vae.encoder(pixels(pictures))
        return reparameterised(mean, logvar, self.normal(len(pictures)))

    def _coded(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(E, T, Z) means and log variances of (E, T, ...) pictures."""
        with torch.no_grad():
            parts = [self.vae.encoder(pixels(each)) for each in pictures]
        mean, logvar = zip(*parts, strict=True)
        return torch.stack(mean), torch.stack(logvar)

    def normal(self, rows: int) -> torch.Tensor:
        """(N, Z) noise."""
        return torch.randn(rows, self.latent, generator=self.generator)

    @torch.no_grad()
    def remember(
        self, senses: torch.Tensor, raw: torch.Tensor, memory: Memory
    ) -> tuple[torch.Tensor, Memory]:
        """The action of a controller's output, and what is remembered after it."""
        action = driven(self.codec, raw)
        return action, self.model.step(senses, action, memory)


def pixels(pictures: torch.Tensor) -> torch.Tensor:
    """(N, H, W, C) uint8 -> (N, C, H, W) in 0..1."""
    return pictures.movedim(-1, 1).float() / 255


def _step(optimizer: FusedAdam, loss: torch.Tensor, net: nn.Module, clip: float) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_value_(net.parameters(), clip)
    optimizer.step()
