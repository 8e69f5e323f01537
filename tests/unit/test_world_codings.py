"""Encoder and decoder of every generation: the papers' layers, and the losses by hand."""

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
import torch
from gymnasium import spaces

from agents.errors import UnsupportedSpace
from agents.world.coding import DAYDREAMER, DREAMER_V1, DREAMER_V2, DREAMER_V3, PLANET
from agents.world.decoder import Decoder, to_image
from agents.world.encoder import Encoder
from agents.world.sizes import DAYDREAMER_SIZES, PLANET_SIZES, V1_SIZES, V2_SIZES

GENERATIONS = {
    "planet": (PLANET_SIZES["tiny"], PLANET),
    "v1": (V1_SIZES["tiny"], DREAMER_V1),
    "v2": (V2_SIZES["tiny"], DREAMER_V2),
    "daydreamer": (DAYDREAMER_SIZES["tiny"], DAYDREAMER),
}
every = pytest.mark.parametrize(("size", "coding"), GENERATIONS.values(), ids=GENERATIONS)


def images(side, **channels):
    return {k: spaces.Box(0, 255, (side, side, n), np.uint8) for k, n in channels.items()}


CAMERA = spaces.Dict(images(64, camera=3))
ROBOT = spaces.Dict(
    **images(64, camera=3, depth=1),
    joints=spaces.Box(-np.inf, np.inf, (7,), np.float32),
    tip=spaces.Box(-np.inf, np.inf, (3,), np.float32),
)
FUSED = spaces.Dict(
    **images(16, left=3, right=3, depth=1),
    gear=spaces.Discrete(4),
    joints=spaces.Box(-1, 1, (2, 3), np.float32),
    speed=spaces.Box(-1, 1, (), np.float32),
)


def built(space, size, coding):
    with torch.device("meta"):
        return Encoder(space, size, coding), Decoder(space, size, coding)


def count(module):
    return sum(p.numel() for p in module.parameters())


def sample(*lead):
    drawn = [FUSED.sample() for _ in range(int(np.prod(lead)))]
    stacked = {key: np.stack([row[key] for row in drawn]) for key in FUSED}
    return {k: torch.from_numpy(v).reshape(*lead, *v.shape[1:]) for k, v in stacked.items()}


def state(size, *lead):
    latent = (size.stoch, size.classes) if size.classes else (size.stoch,)
    return torch.randn(*lead, size.deter), torch.rand(*lead, *latent)


@pytest.mark.parametrize(
    ("size", "coding", "width", "encoder", "decoder"),
    [
        # 3-32-64-128-256 with kernel 4; 230 -> 1024, then 128-64-32-3 with kernels 5, 5, 6, 6.
        (
            *(PLANET_SIZES["paper"], PLANET, 1024),
            1568 + 32832 + 131200 + 524544,
            236544 + 3276928 + 204864 + 73760 + 3459,
        ),
        (
            *(V1_SIZES["paper"], DREAMER_V1, 1024),
            1568 + 32832 + 131200 + 524544,
            236544 + 3276928 + 204864 + 73760 + 3459,
        ),
        # The same from depth 48, with 2048 features.
        (
            *(V2_SIZES["default"], DREAMER_V2, 1536),
            2352 + 73824 + 295104 + 1180032,
            3147264 + 7372992 + 460896 + 165936 + 5187,
        ),
    ],
    ids=["planet", "v1", "v2"],
)
def test_images_pass_the_layers_of_the_papers(size, coding, width, encoder, decoder):
    enc, dec = built(CAMERA, size, coding)
    assert enc.width == width
    assert (count(enc), count(dec)) == (encoder, decoder)


def test_daydreamer_fuses_everything_in_one_network_of_each_kind():
    enc, dec = built(ROBOT, DAYDREAMER_SIZES["default"], DAYDREAMER)
    assert enc.width == 2048 + 512
    # 4-64-128-256-512 with kernel 4, a scale and an offset a channel.
    assert count(enc.images) == 4160 + 131200 + 524544 + 2097664 + 2 * (64 + 128 + 256 + 512)
    # 10 -> 4 x 512 without biases.
    assert count(enc.vectors) == 10 * 512 + 3 * 512**2 + 4 * 2 * 512
    # 2048 features are the first pixel themselves; 256-128-64-4 with kernels 5, 5, 6, 6.
    grown = 13107456 + 819328 + 294976 + 9220
    assert count(dec.images) == grown + 2 * (256 + 128 + 64)
    # One trunk, 2048 -> 4 x 512, and one layer a key, which has a bias.
    assert count(dec.vectors) == 2048 * 512 + 3 * 512**2 + 4 * 2 * 512 + 513 * (7 + 3)


@every
@pytest.mark.parametrize(("side", "stages"), [(16, 2), (32, 3), (64, 4), (128, 5)])
def test_pictures_come_out_as_large_as_they_went_in(size, coding, side, stages):
    space = spaces.Dict(images(side, camera=3))
    encoder, decoder = Encoder(space, size, coding), Decoder(space, size, coding)
    tokens = encoder({"camera": torch.zeros(2, side, side, 3, dtype=torch.uint8)})
    assert tokens.shape == (2, encoder.width) == (2, 4 * size.depth * 2 ** (stages - 1))
    assert decoder(*state(size, 2))["camera"].shape == (2, side, side, 3)


@every
@pytest.mark.parametrize("side", [8, 48, 65, 84, 256])
def test_sides_that_do_not_come_out_are_refused(size, coding, side):
    with pytest.raises(UnsupportedSpace, match="with a side of 16, 32, 64, 128") as error:
        Encoder(spaces.Dict(images(side, camera=3)), size, coding)
    assert "observation.camera" in str(error.value)


@every
def test_every_kind_of_key_enters_and_is_predicted(size, coding):
    torch.manual_seed(0)
    encoder, decoder = Encoder(FUSED, size, coding), Decoder(FUSED, size, coding)
    obs = sample(2, 3)
    assert encoder(obs).shape == (2, 3, encoder.width)
    pred = decoder(*state(size, 2, 3))
    assert {key: tuple(value.shape[2:]) for key, value in pred.items()} == {
        "depth": (16, 16, 1),
        "left": (16, 16, 3),
        "right": (16, 16, 3),
        "gear": (4,),
        "joints": (6,),
        "speed": (1,),
    }
    losses = decoder.loss(pred, obs)
    assert {tuple(loss.shape) for loss in losses.values()} == {(2, 3)}


@every
@pytest.mark.parametrize("key", list(FUSED))
def test_every_key_changes_the_tokens_of_its_row_only(size, coding, key):
    torch.manual_seed(0)
    encoder = Encoder(FUSED, size, coding)
    obs = sample(2, 3)
    changed = {k: v.clone() for k, v in obs.items()}
    # Of a picture by half of its range: less may fall into the same of few steps.
    changed[key][1, 2] = (changed[key][1, 2] + 1) % 4 if key == "gear" else changed[key][1, 2] + 128
    differs = (encoder(obs) != encoder(changed)).any(-1)
    assert differs.nonzero().tolist() == [[1, 2]]


@every
def test_every_weight_learns(size, coding):
    torch.manual_seed(0)
    encoder, decoder = Encoder(FUSED, size, coding), Decoder(FUSED, size, coding)
    obs = sample(8)
    losses = decoder.loss(decoder(*state(size, 8)), obs)
    (encoder(obs).square().sum() + sum(loss.sum() for loss in losses.values())).backward()
    for module in (encoder, decoder):
        assert all(p.grad.isfinite().all() and p.grad.any() for p in module.parameters())


@every
def test_the_decoder_learns_to_draw(size, coding):
    torch.manual_seed(0)
    decoder = Decoder(FUSED, size, coding)
    # Each picture brightens from left to right or from top to bottom.
    ramp = torch.arange(16).mul(17).to(torch.uint8).expand(1, 16, 16)[..., None]
    obs = sample(1) | {"left": ramp.expand(1, 16, 16, 3), "depth": ramp.transpose(1, 2)}
    seen = state(size, 1)
    optimizer = torch.optim.Adam(decoder.parameters(), 5e-3)
    for _ in range(100):
        losses = decoder.loss(decoder(*seen), obs)
        optimizer.zero_grad()
        sum(losses[key].sum() for key in ("left", "depth")).backward()
        optimizer.step()
    for key in ("left", "depth"):
        assert (to_image(decoder(*seen)[key]).float() - obs[key]).abs().mean() < 25


def test_stacked_images_are_split_in_the_order_of_their_names():
    size = PLANET_SIZES["tiny"]
    decoder = Decoder(FUSED, size, DREAMER_V1)
    with torch.no_grad():
        decoder.images.out.weight.zero_()
        decoder.images.out.bias.copy_(torch.arange(7.0))
    pred = decoder(*state(size, 1))
    corners = {key: pred[key][0, 5, 9].tolist() for key in ("depth", "left", "right")}
    assert corners == {"depth": [0.5], "left": [1.5, 2.5, 3.5], "right": [4.5, 5.5, 6.5]}


@pytest.mark.parametrize(
    ("coding", "each"),
    [
        (PLANET, 0.5 * (31 / 32 + 1 / 64 - 0.25) ** 2),
        (DREAMER_V1, 0.5 * 0.75**2),
        (DREAMER_V2, 0.5 * 0.75**2),
        (DAYDREAMER, 0.75**2),
        (DREAMER_V3, 0.75**2),
    ],
)
def test_image_losses_are_sums_over_pixels(coding, each):
    decoder = Decoder(FUSED, V2_SIZES["tiny"], coding)
    white = torch.full((2, 16, 16, 3), 255, dtype=torch.uint8)
    loss = decoder.loss({"left": torch.full((2, 16, 16, 3), 0.25)}, {"left": white})["left"]
    torch.testing.assert_close(loss, torch.full((2,), 16 * 16 * 3 * each))


@pytest.mark.parametrize(
    ("coding", "error"),
    [
        (PLANET, 0.5 * (9 + 4)),
        (DREAMER_V1, 0.5 * (9 + 4)),
        (DREAMER_V2, 0.5 * (9 + 4)),
        (DAYDREAMER, 9 + 4),
        (DREAMER_V3, (1 - np.log(5)) ** 2 + (-1 + np.log(2)) ** 2),
    ],
)
def test_vectors_are_raw_before_the_third_generation(coding, error):
    space = spaces.Dict(x=spaces.Box(-9, 9, (2,), np.float32))
    decoder = Decoder(space, V2_SIZES["tiny"], coding)
    pred, target = torch.tensor([[1.0, -1.0]]), torch.tensor([[4.0, -1.0]])
    if coding is not DREAMER_V3:
        target = torch.tensor([[4.0, 1.0]])
    loss = decoder.loss({"x": pred}, {"x": target})["x"]
    torch.testing.assert_close(loss, torch.tensor([float(error)]))


def test_discrete_keys_keep_their_likelihood_in_full():
    space = spaces.Dict(gear=spaces.Discrete(4))
    decoder = Decoder(space, PLANET_SIZES["tiny"], PLANET)
    loss = decoder.loss({"gear": torch.zeros(1, 4)}, {"gear": torch.tensor([2])})["gear"]
    torch.testing.assert_close(loss, torch.tensor([np.log(4.0)], dtype=torch.float32))


def test_five_bits_see_the_middle_of_their_step():
    values = torch.tensor([0.0, 7, 8, 128, 255])
    steps = torch.tensor([1, 1, 3, 33, 63]) / 64
    torch.testing.assert_close(PLANET.pixels(values), steps, rtol=0, atol=0)
    torch.testing.assert_close(DREAMER_V1.pixels(values), values / 255, rtol=0, atol=0)
    every_value = torch.arange(256.0)
    assert len(PLANET.pixels(every_value).unique()) == 32
    # No bias: a step's middle is the mean of PlaNet's noise over it, and black and white mirror.
    torch.testing.assert_close(PLANET.pixels(every_value).mean(), torch.tensor(0.5))


def test_what_is_finer_than_five_bits_is_not_seen():
    torch.manual_seed(0)
    encoder = Encoder(spaces.Dict(images(16, camera=3)), PLANET_SIZES["tiny"], PLANET)
    tokens = [encoder({"camera": torch.full((1, 16, 16, 3), v)}) for v in (16, 23, 24)]
    assert (tokens[0] == tokens[1]).all()
    assert (tokens[1] != tokens[2]).any()


@pytest.mark.parametrize(("coding", "black"), [(DREAMER_V2, -0.5), (DAYDREAMER, 0.0)])
def test_pixels_enter_around_zero_or_from_zero(coding, black):
    encoder = Encoder(spaces.Dict(images(16, camera=1)), V2_SIZES["tiny"], coding)
    first = encoder.images.stages[0]
    seen = []
    first.conv.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    encoder({"camera": torch.tensor([0, 255], dtype=torch.uint8).expand(1, 16, 16, 2)[..., :1]})
    assert seen[0].unique().tolist() == [black]


def test_a_gaussian_and_a_flat_state_are_the_same_to_the_decoder():
    size = V2_SIZES["tiny"]
    decoder = Decoder(FUSED, size, DREAMER_V2)
    deter, stoch = state(size, 2, 3)
    grouped, flat = decoder(deter, stoch), decoder(deter, stoch.flatten(-2))
    assert all((grouped[key] == flat[key]).all() for key in FUSED)
    gaussian = replace(size, stoch=size.flat, classes=0)
    assert (gaussian.flat, gaussian.features) == (size.flat, size.features)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["planet", "daydreamer"])
def test_the_exported_encoder_equals_torch(name, tmp_path):
    torch.manual_seed(0)
    encoder = Encoder(FUSED, *GENERATIONS[name]).eval()
    example = {"obs": {key: sample(1)[key] for key in FUSED}}
    program = torch.onnx.export(
        encoder, kwargs=example, input_names=list(FUSED), dynamo=True, verbose=False
    )
    program.save(tmp_path / "encoder.onnx")
    session = ort.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    for _ in range(2):
        obs = sample(1)
        (got,) = session.run(None, {key: obs[key].numpy() for key in FUSED})
        with torch.no_grad():
            np.testing.assert_allclose(got, encoder(obs).numpy(), rtol=1e-4, atol=1e-5)
