"""Sizes: as many parameters as the reference has, module by module."""

import json
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.world.behaviour import Behaviour, BehaviourSpec
from agents.world.coding import DREAMER_V3
from agents.world.model import ModelSpec, WorldModel
from agents.world.sizes import (
    DAYDREAMER_SIZES,
    PLANET_SIZES,
    SIZES,
    V1_SIZES,
    V2_SIZES,
    Size,
)

FILE = Path(__file__).parents[1] / "oracle" / "7_parameter_counts.json"
CASES = json.loads(FILE.read_text())["cases"]
IMAGE = spaces.Box(0, 255, (64, 64, 3), np.uint8)
VECTOR = spaces.Box(-np.inf, np.inf, (24,), np.float32)
SIX = spaces.Box(-1, 1, (6,), np.float32)
SPACES = {
    "a_image64_cont6": (spaces.Dict(image=IMAGE), SIX),
    "b_vector24_cont6": (spaces.Dict(vector=VECTOR), SIX),
    "c_image64_vector24_disc6": (spaces.Dict(image=IMAGE, vector=VECTOR), spaces.Discrete(6)),
}


def modules(size, observation, action):
    with torch.device("meta"):
        world = WorldModel(observation, action, ModelSpec(size, DREAMER_V3))
        behaviour = Behaviour(world, action, BehaviourSpec())
    return {
        "enc": world.encoder,
        "dyn": world.rssm,
        "dec": world.decoder,
        "rew": world.reward,
        "con": world.goes_on,
        "pol": behaviour.policy,
        "val": behaviour.value,
    }


@pytest.mark.parametrize("case", CASES)
def test_parameters_equal_the_reference(case):
    name, variant = case.split("/")
    built = modules(SIZES[name.removeprefix("size").upper()], *SPACES[variant])
    counts = {key: sum(p.numel() for p in part.parameters()) for key, part in built.items()}
    assert counts == CASES[case]["modules"]
    assert sum(counts.values()) == CASES[case]["total_optimised"]


@pytest.mark.parametrize("case", [case for case in CASES if "tensors" in CASES[case]])
def test_every_tensor_is_one_of_the_reference(case):
    """As many tensors, of the same sizes: gradients are clipped tensor by tensor."""
    name, variant = case.split("/")
    built = modules(SIZES[name.removeprefix("size").upper()], *SPACES[variant])
    for key, part in built.items():
        wanted = [prod(s) for n, s in CASES[case]["tensors"].items() if n.startswith(f"{key}/")]
        assert sorted(p.numel() for p in part.parameters()) == sorted(wanted)


def test_tiny_is_tiny():
    built = modules(SIZES["tiny"], *SPACES["b_vector24_cont6"])
    assert 100_000 < sum(p.numel() for m in built.values() for p in m.parameters()) < 200_000


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_presets_fit_together(size):
    assert size.deter % size.blocks == 0
    assert all(size.depths(side)[-1] % size.blocks == 0 for side in (16, 32, 64, 96, 128, 256))


@pytest.mark.parametrize(
    ("side", "stages"), [(64, 4), (32, 3), (8, 1), (48, 4), (256, 4), (512, 0), (66, 0), (4, 0)]
)
def test_images_are_halved_to_a_side_between_3_and_16(side, stages):
    assert len(SIZES["1M"].depths(side)) == stages


def test_small_images_take_the_deepest_stages():
    assert Size(8, 8, 4, depth=2, units=8).depths(32) == (6, 8, 8)


@pytest.mark.parametrize(
    ("side", "depths"),
    [
        (16, (32, 64)),
        (32, (32, 64, 128)),
        (64, (32, 64, 128, 256)),
        (128, (32, 64, 128, 256, 512)),
        *((side, ()) for side in (0, 1, 3, 4, 8, 48, 65, 84, 96, 256)),
    ],
)
def test_without_padding_images_take_the_shallowest_stages(side, depths):
    assert PLANET_SIZES["paper"].unpadded_depths(side) == depths


@pytest.mark.parametrize(
    ("size", "features"),
    [
        (PLANET_SIZES["paper"], 200 + 30),
        (V1_SIZES["paper"], 200 + 30),
        (V2_SIZES["dmc"], 200 + 1024),
        (V2_SIZES["atari"], 600 + 1024),
        (V2_SIZES["default"], 1024 + 1024),
        (DAYDREAMER_SIZES["a1"], 256 + 1024),
        (DAYDREAMER_SIZES["arm"], 512 + 1024),
        (DAYDREAMER_SIZES["default"], 1024 + 1024),
        (SIZES["200M"], 8192 + 32 * 64),
    ],
)
def test_features_are_the_state_flat(size, features):
    assert size.features == features
