"""Networks side by side are as those apart; noise of weights is the paper's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.nn import functional as F  # noqa: N812

from agents.blocks.observe import Features
from agents.blocks.stacks import Members, NoisyDense, Stream, stack
from agents.errors import UnsupportedSpace


def test_members_are_networks_of_their_own() -> None:
    torch.manual_seed(0)
    net, x = Members(3, 4, (5, 6), 2), torch.randn(7, 4)
    with torch.no_grad():
        for bias in net.biases:
            bias.normal_()
    out = net(x)
    assert out.shape == (3, 7, 2)
    for e in range(3):
        y = x
        for k, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
            y = (F.relu(y) if k else y) @ weight[e] + bias[e]
        torch.testing.assert_close(out[e], y)
    out[1].sum().backward()
    for p in net.parameters():
        assert p.grad is not None
        assert p.grad[1].abs().sum() > 0
        assert p.grad[0].abs().sum() == p.grad[2].abs().sum() == 0


def test_noisy_weights_are_the_sum_of_the_mean_and_an_outer_product() -> None:
    torch.manual_seed(0)
    layer, x, noise = NoisyDense(3, 2), torch.randn(4, 3), torch.randn(1, 5)
    with torch.no_grad():
        layer.weight_spread.normal_()
        layer.bias_spread.normal_()
    f = noise[0].sign() * noise[0].abs().sqrt()
    weight = layer.weight + layer.weight_spread * torch.outer(f[3:], f[:3])
    bias = layer.bias + layer.bias_spread * f[3:]
    torch.testing.assert_close(layer(x, noise), x @ weight.T + bias)
    quiet = layer(x, torch.zeros(1, 5))
    torch.testing.assert_close(quiet, F.linear(x, layer.weight, layer.bias))


def test_noise_starts_as_wide_as_the_paper_says() -> None:
    layer = NoisyDense(16, 2)
    assert layer.weight_spread.unique().tolist() == layer.bias_spread.unique().tolist() == [0.125]
    assert layer.weight.abs().max() <= 0.25


def test_a_stream_gives_each_layer_noise_of_its_own() -> None:
    torch.manual_seed(0)
    stream = Stream(3, (4,), 2, noisy=True)
    assert stream.noise_width == 3 + 4 + 4 + 2
    x, noise = torch.randn(2, 3), torch.randn(1, 13)
    first, last = stream.layers
    expected = last(F.relu(first(x, noise[:, :7])), noise[:, 7:])
    torch.testing.assert_close(stream(x, noise), expected)
    assert Stream(3, (4,), 2, noisy=False).noise_width == 0


def test_a_stack_of_nothing_is_the_identity() -> None:
    x = torch.randn(2, 3)
    assert torch.equal(stack(3, ())(x), x)


@pytest.mark.parametrize("side", [8, 16, 35, 36, 64, 84])
def test_images_of_any_size_are_seen(side: int) -> None:
    space = spaces.Dict(
        {
            "front.camera": spaces.Box(0, 255, (side, side + 3, 3), np.uint8),
            "mode": spaces.Discrete(3),
            "v": spaces.Box(-1, 1, (2, 2), np.float32),
        }
    )
    features = Features(space)
    obs = {
        "front.camera": torch.randint(0, 256, (5, side, side + 3, 3), dtype=torch.uint8),
        "mode": torch.tensor([0, 1, 2, 0, 1]),
        "v": torch.randn(5, 2, 2),
        "other": torch.zeros(5),
    }
    out = features(obs)
    assert out.shape == (5, features.width)
    assert torch.equal(out[:, -7:-4], torch.eye(3)[obs["mode"]])
    assert torch.equal(out[:, -4:], obs["v"].reshape(5, 4))


def test_what_cannot_be_seen_is_named() -> None:
    with pytest.raises(UnsupportedSpace, match=r"observation\.flat"):
        Features(spaces.Dict(flat=spaces.Box(0, 255, (4,), np.uint8)))


def test_a_single_number_is_a_feature() -> None:
    """Of shape (): a height, a battery."""
    space = spaces.Dict({"height": spaces.Box(0, 1, (), np.float32), "mode": spaces.Discrete(2)})
    seen = Features(space)({"height": torch.tensor([0.5, 0.25]), "mode": torch.tensor([0, 1])})
    assert seen.tolist() == [[0.5, 1.0, 0.0], [0.25, 0.0, 1.0]]
