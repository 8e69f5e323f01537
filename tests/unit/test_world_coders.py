"""Encoder and decoder: the reference's numbers, and what enters for each kind of key."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.errors import UnsupportedSpace
from agents.world.coding import DREAMER_V3
from agents.world.decoder import Decoder, to_image
from agents.world.encoder import Encoder
from agents.world.sizes import SIZES, Size
from tests.oracle_cases import cases, close, load, tensor, tensors

FILE = "5_layers_heads"
ENCODERS = cases(FILE, "encoder")
DECODERS = cases(FILE, "decoder")
ENCODER_SIZE = Size(32, 8, 4, depth=2, units=8, stoch=4, layers=2, mults=(2, 3))
DECODER_SIZE = Size(32, 8, 4, depth=8, units=8, stoch=4, layers=2, mults=(2, 3))
RENAMES = [  # ours, the reference's
    (r"tail\.0\.scale", "scale"),
    (r"norm\.scale", "scale"),
    (r"weight", "kernel"),
]
ENCODER_NAMES = [
    (r"vectors\.mlp\.(\d)\.scale", r"enc/mlp\1norm/scale"),
    (r"vectors\.mlp\.(\d)\.(\w+)", r"enc/mlp\1/\2"),
    (r"images\.stages\.(\d)\.scale", r"enc/cnn\1norm/scale"),
    (r"images\.stages\.(\d)\.conv\.(\w+)", r"enc/cnn\1/\2"),
]
DECODER_NAMES = [
    (r"vectors\.mlp\.(\d)\.scale", r"dec/mlp/norm\1/scale"),
    (r"vectors\.mlp\.(\d)\.(\w+)", r"dec/mlp/linear\1/\2"),
    (r"vectors\.outs\.0\.(\w+)", r"dec/vec/aux/pred/\1"),
    (r"vectors\.outs\.1\.(\w+)", r"dec/vec/proprio/pred/\1"),
    (r"images\.from_deter\.(\w+)", r"dec/sp0/\1"),
    (r"images\.from_stoch\.0\.scale", r"dec/sp1norm/scale"),
    (r"images\.from_stoch\.0\.(\w+)", r"dec/sp1/\1"),
    (r"images\.from_stoch\.1\.(\w+)", r"dec/sp2/\1"),
    (r"images\.scale", r"dec/spnorm/scale"),
    (r"images\.stages\.0\.scale", r"dec/conv0norm/scale"),
    (r"images\.stages\.0\.grow\.conv\.(\w+)", r"dec/conv0/\1"),
    (r"images\.out\.conv\.(\w+)", r"dec/imgout/\1"),
]


def oracle_name(name, table):
    for ours, theirs in [*RENAMES, *table]:
        name = re.sub(f"{ours}$", theirs, name)
    return name


def fill(model, given, table):
    """Give the model the reference's weights; it must have exactly those."""
    names = {oracle_name(name, table): p for name, p in model.named_parameters()}
    assert {f"w:{name}" for name in names} == {key for key in given if key.startswith("w:")}
    with torch.no_grad():
        for name, parameter in names.items():
            value = torch.from_numpy(given[f"w:{name}"])
            axes = {2: (1, 0), 4: (3, 2, 0, 1)}.get(parameter.ndim)
            parameter.copy_(value.permute(axes) if axes else value)
    return model


def space(side):
    parts = {
        "image": spaces.Box(0, 255, (side, side, 3), np.uint8),
        "proprio": spaces.Box(-np.inf, np.inf, (5,), np.float32),
        "aux": spaces.Box(-np.inf, np.inf, (2,), np.float32),
    }
    return spaces.Dict(parts)


def modern(case):
    return replace(DREAMER_V3, convolution="strided" if case.endswith("strided") else "pooled")


@pytest.mark.parametrize("case", ENCODERS)
def test_encoder_equals_the_reference(case):
    given, expected, _ = load(FILE, case)
    model = Encoder(space(12), ENCODER_SIZE, modern(case)).double()
    fill(model, given, ENCODER_NAMES)
    tokens = model(tensors({key: given[key] for key in ("image", "proprio", "aux")}))
    close(tokens, expected["tokens"])
    assert tokens.shape[-1] == model.width


@pytest.mark.parametrize("case", DECODERS)
def test_decoder_equals_the_reference(case):
    given, expected, _ = load(FILE, case)
    model = Decoder(space(16), DECODER_SIZE, modern(case)).double()
    fill(model, given, DECODER_NAMES)
    pred = model(tensor(given["deter"]), tensor(given["stoch"]))
    losses = model.loss(pred, {k[2:]: tensor(v) for k, v in given.items() if k.startswith("t_")})
    assert expected
    for name, wanted in expected.items():
        kind, key = name.split("_")
        close((pred if kind == "recon" else losses)[key], wanted)


MIXED = spaces.Dict(
    camera=spaces.Box(0, 255, (16, 16, 3), np.uint8),
    depth=spaces.Box(0, 255, (16, 16, 1), np.uint8),
    gear=spaces.Discrete(4),
    joints=spaces.Box(-1, 1, (2, 3), np.float32),
    speed=spaces.Box(-1, 1, (), np.float32),
)


def sample(space, *lead):
    drawn = [space.sample() for _ in range(int(np.prod(lead)))]
    stacked = {key: np.stack([row[key] for row in drawn]) for key in space}
    return {k: torch.from_numpy(v).reshape(*lead, *v.shape[1:]) for k, v in stacked.items()}


def test_every_kind_of_key_enters_and_is_predicted():
    size = SIZES["tiny"]
    encoder, decoder = Encoder(MIXED, size), Decoder(MIXED, size)
    obs = sample(MIXED, 2, 3)
    tokens = encoder(obs)
    assert tokens.shape == (2, 3, encoder.width)
    deter, stoch = torch.zeros(2, 3, size.deter), torch.zeros(2, 3, size.stoch, size.classes)
    pred = decoder(deter, stoch)
    shapes = {key: tuple(value.shape[2:]) for key, value in pred.items()}
    assert shapes == {
        "camera": (16, 16, 3),
        "depth": (16, 16, 1),
        "gear": (4,),
        "joints": (6,),
        "speed": (1,),
    }
    losses = decoder.loss(pred, obs)
    assert {tuple(loss.shape) for loss in losses.values()} == {(2, 3)}


@pytest.mark.parametrize("key", list(MIXED))
def test_every_key_changes_the_tokens_of_its_row_only(key):
    torch.manual_seed(0)
    encoder = Encoder(MIXED, SIZES["tiny"])
    obs = sample(MIXED, 2, 3)
    changed = {k: v.clone() for k, v in obs.items()}
    changed[key][1, 2] = (changed[key][1, 2] + 1) % 4
    differs = (encoder(obs) != encoder(changed)).any(-1)
    assert differs.nonzero().tolist() == [[1, 2]]


def test_the_decoder_learns_to_draw():
    torch.manual_seed(0)
    size = SIZES["tiny"]
    decoder = Decoder(MIXED, size)
    obs = sample(MIXED, 1)
    deter = torch.randn(1, size.deter)
    stoch = torch.zeros(1, size.stoch, size.classes)
    optimizer = torch.optim.Adam(decoder.parameters(), 5e-3)
    for _ in range(100):
        losses = decoder.loss(decoder(deter, stoch), obs)
        optimizer.zero_grad()
        sum(loss.sum() for loss in losses.values()).backward()
        optimizer.step()
    drawn = to_image(decoder(deter, stoch)["camera"]).float()
    assert (drawn - obs["camera"]).abs().mean() < 25


def test_pictures_are_rounded_and_clipped():
    pixels = to_image(torch.tensor([-0.1, 0.0, 0.5, 1.0, 1.1]))
    assert pixels.tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("observation.x", spaces.Box(0, 255, (7,), np.uint8)),
        ("observation.x", spaces.Box(0, 255, (64, 32, 3), np.uint8)),
        ("observation.x", spaces.Box(0, 255, (50, 50, 3), np.uint8)),
        ("observation.x", spaces.Box(0, 1, (2,), np.float64)),
        ("observation.x", spaces.MultiBinary(3)),
    ],
)
def test_other_spaces_are_refused_by_name(field, part):
    with pytest.raises(UnsupportedSpace, match=field):
        Encoder(spaces.Dict(x=part), SIZES["tiny"])


def test_images_of_two_sizes_and_no_keys_are_refused():
    images = {f"c{n}": spaces.Box(0, 255, (n, n, 3), np.uint8) for n in (32, 64)}
    for space in (spaces.Dict(images), spaces.Dict()):
        with pytest.raises(UnsupportedSpace):
            Encoder(space, SIZES["tiny"])
