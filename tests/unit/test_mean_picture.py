"""Pictures as what differs from their mean, for scenes in which little moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import load, save

from agents.daydreamer import DayDreamer, DayDreamerConfig
from agents.planet import Planet, PlanetConfig
from agents.world.coding import DAYDREAMER, PLANET
from agents.world.decoder import Decoder
from agents.world.encoder import Encoder
from agents.world.mean_picture import GAIN, MeanPicture, coarse_errors
from agents.world.sizes import DAYDREAMER_SIZES
from robot_client.schema import ACTION, IS_FIRST, IS_LAST, IS_TERMINAL, REWARD

SIDE, WINDOWS, ROWS, SPOT = 32, 4, 8, 3
SPACE = spaces.Dict(camera=spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8))
ACTIONS = spaces.Box(-1, 1, (2,), np.float32)


def pictures(seed, *lead):
    return torch.rand(*lead, 16, 16, 3, generator=torch.Generator().manual_seed(seed))


def test_the_mean_of_all_batches():
    mean, batches = MeanPicture(16, 3, sigmoid=True), pictures(0, 5, 2, 4)
    for batch in batches:
        mean.update(batch)
    torch.testing.assert_close(mean.mean, batches.mean((0, 1, 2)))


def test_later_the_mean_follows_the_light():
    mean = MeanPicture(16, 1, sigmoid=True)
    for _ in range(2000):
        mean.update(torch.zeros(1, 16, 16, 1))
    for _ in range(1000):
        mean.update(torch.ones(1, 16, 16, 1))
    expected = 1 - (1 - 1e-3) ** 1000
    torch.testing.assert_close(mean.mean, torch.full((16, 16, 1), expected), rtol=1e-3, atol=0)


def test_changes_are_enlarged():
    mean, seen = MeanPicture(16, 3, sigmoid=True), pictures(1, 2)
    assert torch.equal(mean.changes(seen), GAIN * (seen - 0.5))


@pytest.mark.parametrize("sigmoid", [True, False])
def test_a_prediction_of_nothing_is_the_mean(sigmoid):
    mean, seen = MeanPicture(16, 3, sigmoid=sigmoid), pictures(2, 8)
    mean.update(seen)
    torch.testing.assert_close(mean.drawn(torch.zeros(16, 16, 3)), mean.mean)


def test_errors_of_patches_by_hand():
    """16 x 16 pixels take patches of 4 only: one pixel wrong by 1 is a patch wrong by 1/16, and
    two in one patch, of opposite signs, are none."""
    none, one, both = torch.zeros(3, 16, 16, 1)
    one[5, 6] = both[5, 6] = 1.0
    both[4, 7] = -1.0
    errors = coarse_errors(torch.stack([none, one, both]), torch.zeros(3, 16, 16, 1))
    torch.testing.assert_close(errors, torch.tensor([0.0, 4**4 / 4 / 16**2, 0.0]))


def test_errors_of_patches_reach_over_pixels():
    """A spot drawn beside its place errs less than one drawn far away; pixels see no difference."""
    truth, near, far = torch.zeros(3, 64, 64, 1)
    truth[10:14, 10:14] = near[10:14, 15:19] = far[10:14, 40:44] = 1.0
    wrong_near, wrong_far = coarse_errors(torch.stack([near, far]), torch.stack([truth] * 2))
    assert 1.5 * wrong_near < wrong_far
    assert torch.equal((near - truth).square().sum(), (far - truth).square().sum())


def config(cls, **more):
    return cls(**cls.presets["laptop"] | {"batch_size": WINDOWS, "batch_length": ROWS} | more)


class Arena:
    """A spot jumps about on a floor that never changes."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.floor = np.random.default_rng(0).integers(90, 160, (SIDE, SIDE, 3), dtype=np.uint8)

    def pictures(self, count):
        """(N, H, W, 3) uint8."""
        camera = np.broadcast_to(self.floor, (count, SIDE, SIDE, 3)).copy()
        for n, (y, x) in enumerate(self.rng.integers(0, SIDE - SPOT, (count, 2))):
            camera[n, y : y + SPOT, x : x + SPOT] = 255
        return torch.from_numpy(camera)

    def batch(self):
        """Rows (B, T) for an agent."""
        no = torch.zeros(WINDOWS, ROWS, dtype=torch.bool)
        return {
            "camera": self.pictures(WINDOWS * ROWS).unflatten(0, (WINDOWS, ROWS)),
            "prev_action": torch.zeros(WINDOWS, 2),
            ACTION: torch.zeros(WINDOWS, ROWS, 2),
            REWARD: torch.zeros(WINDOWS, ROWS),
            IS_FIRST: no,
            IS_LAST: no,
            IS_TERMINAL: no,
        }


def spot_left(changes, updates=160):
    """Share of the spot's squared error that is left of what was seen just now, when encoder and
    decoder learned together for so long, with real numbers between them."""
    torch.manual_seed(0)
    size, arena = DAYDREAMER_SIZES["tiny"], Arena(1)
    coding = replace(DAYDREAMER, changes=changes)
    encoder = Encoder(SPACE, size, coding)
    decoder = Decoder(SPACE, size, coding, encoder.standards)
    between = torch.nn.Linear(encoder.width, size.features)
    parts = torch.nn.ModuleList([encoder, decoder, between])
    optimizer = torch.optim.Adam(parts.parameters(), 2e-3)
    for _ in range(updates):
        seen = {"camera": arena.pictures(32)}
        encoder.see(seen)
        deter, stoch = between(encoder(seen)).split([size.deter, size.flat], -1)
        pred = decoder(deter, stoch.unflatten(-1, (size.stoch, size.classes)))
        optimizer.zero_grad()
        decoder.loss(pred, seen)["camera"].mean().backward()
        optimizer.step()
    truth = seen["camera"] / 255
    spot = (seen["camera"] == 255).all(-1, keepdim=True)
    floor = torch.from_numpy(arena.floor) / 255
    wrong, usual = (pred["camera"].detach() - truth) ** 2, (floor - truth) ** 2
    return float((spot * wrong).sum() / (spot * usual).sum())


def test_a_small_thing_is_found():
    """And without it is not."""
    assert spot_left(changes=True) < 0.7 < 0.95 < spot_left(changes=False)


def test_every_coding_can_do_it():
    made = config(PlanetConfig, pictures="changes")
    agent = Planet(SPACE, ACTIONS, made, torch.device("cpu"))
    assert agent.world.spec.coding.changes
    batch = Arena(2).batch()
    agent.train(batch)
    mean = PLANET.pixels(batch["camera"].float()).mean((0, 1))
    torch.testing.assert_close(agent.world.encoder.standards.picture.mean, mean)


def test_vectors_alone_have_no_mean_picture():
    space = spaces.Dict(x=spaces.Box(-1, 1, (3,), np.float32))
    made = config(DayDreamerConfig, pictures="changes")
    assert (
        DayDreamer(space, ACTIONS, made, torch.device("cpu")).world.encoder.standards.picture
        is None
    )


def test_the_mean_is_kept():
    """With a checkpoint, and in what a robot is sent."""
    made = config(DayDreamerConfig, pictures="changes")
    first = DayDreamer(SPACE, ACTIONS, made, torch.device("cpu"))
    first.train(Arena(3).batch())
    second = DayDreamer(SPACE, ACTIONS, made, torch.device("cpu"))
    second.load_state_dict(load(save(first.state_dict())))
    assert torch.equal(
        second.world.encoder.standards.picture.mean, first.world.encoder.standards.picture.mean
    )
    assert first.world.encoder.standards.picture.mean.std() > 0
    kept = dict(first.acting().graphs["policy"].named_buffers())
    assert any(torch.equal(t, first.world.encoder.standards.picture.mean) for t in kept.values())
    assert not DAYDREAMER.changes
