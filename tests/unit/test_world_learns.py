"""The model learns what its actions do, if and only if it is told of the right action."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.blocks.dists import gumbel
from agents.blocks.nets import ELU
from agents.world.decoder import Decoder
from agents.world.encoder import Encoder
from agents.world.rssm import RSSM, Core
from agents.world.sizes import Size
from tests.unit.worlds import kl_losses

SIZE = Size(deter=64, hidden=32, classes=8, depth=2, units=32, stoch=4, layers=1)
CORES = {
    "dreamer": (Core(), SIZE),
    "dreamer-v2": (Core("ln-gru", style=ELU, prior_layers=1, unimix=0.0), SIZE),
    "planet": (Core("gru", "gaussian", style=ELU, prior_layers=1), replace(SIZE, classes=0)),
}
SPACE = spaces.Dict(x=spaces.Box(-1, 1, (1,), np.float32))
UPDATES, WINDOWS, ROWS = 120, 16, 6


class World(torch.nn.Module):
    """Learns a world in which every observation is the action before it."""

    def __init__(self, core, size):
        super().__init__()
        self.encoder, self.decoder = Encoder(SPACE, size), Decoder(SPACE, size)
        self.rssm = RSSM(self.encoder.width, 1, size, core)
        self.generator = torch.Generator().manual_seed(0)

    def noise(self, *lead):
        shape = (*lead, *self.rssm.latent.shape)
        if self.rssm.latent.noise == "normal":
            return torch.randn(shape, generator=self.generator)
        return gumbel(shape, self.generator)

    def actions(self, rows):
        return torch.empty(WINDOWS, rows, 1).uniform_(-1, 1, generator=self.generator)

    def filter(self, shift):
        """Rows and the states they lead to; the model is told of actions `shift` rows later than
        of those before each row."""
        actions = self.actions(ROWS + 2)
        obs = {"x": actions[:, 1 : ROWS + 1]}
        told = actions[:, 1 + shift : ROWS + 1 + shift]
        first = torch.zeros(WINDOWS, ROWS, dtype=torch.bool)
        start = self.rssm.initial(WINDOWS)
        carry, states = self.rssm.observe(
            self.encoder(obs), told, first, start, self.noise(WINDOWS, ROWS)
        )
        return obs, carry, states

    def loss(self, shift):
        obs, _, states = self.filter(shift)
        dist = self.rssm.latent.dist
        dyn, rep = kl_losses(dist(states.raw), dist(self.rssm.prior(states.deter)), floor=0.1)
        recon = self.decoder.loss(self.decoder(states.deter, states.stoch), obs)["x"]
        return (10 * recon + dyn + 0.1 * rep).mean()

    @torch.no_grad()
    def foresight_error(self, shift):
        """Squared error of what the model imagines to see after an action just chosen."""
        _, carry, _ = self.filter(shift)
        action = self.actions(1)[:, 0]
        pred = self.decoder(*self.rssm.imagine_step(carry, action, self.noise(WINDOWS)))
        return self.decoder.loss(pred, {"x": action})["x"].mean().item()


def error_after_training(core, shift):
    torch.manual_seed(0)
    world = World(*CORES[core])
    optimizer = torch.optim.Adam(world.parameters(), 3e-3)
    for _ in range(UPDATES):
        optimizer.zero_grad()
        world.loss(shift).backward()
        optimizer.step()
    return np.mean([world.foresight_error(shift) for _ in range(10)])


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize(("shift", "foresees"), [(0, True), (-1, False), (1, False)])
def test_only_a_model_told_of_the_previous_action_foresees(core, shift, foresees):
    """Whoever knows nothing is off by 0.19: the mean square of symlog(x) for x in -1..1."""
    error = error_after_training(core, shift)
    assert (error < 0.04) if foresees else (error > 0.15)
