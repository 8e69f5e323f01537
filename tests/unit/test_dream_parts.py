"""V, M and C by hand: sizes, what they cost, and what goes through them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from agents.dream.controller import Controller
from agents.dream.mdn_rnn import MDNRNN, Memory
from agents.dream.mixture import mixture
from agents.dream.vae import VAE, kl_to_unit
from agents.errors import UnsupportedSpace
from tests.oracle_cases import cases, close, load, tensors

ORACLE = "8_other_algorithms"


def size(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_car_racings_sizes_are_the_papers() -> None:
    vae, model = VAE(64, 3, 32), MDNRNN(32, 3)
    assert size(vae) == 4_348_547
    assert size(vae.encoder) == 755_744
    assert size(model.lstm, model.head) == 422_368
    assert Controller(32, 256, 3, "zh", 0).parameters == 867
    assert Controller(32, 256, 3, "z", 40).parameters == 1443
    assert size(VAE(64, 3, 64)) == 4_446_915


@pytest.mark.parametrize("side", [16, 24, 32, 64])
def test_pictures_come_back_as_large_as_they_were(side: int) -> None:
    vae, pixels = VAE(side, 1, 4), torch.rand(2, 1, side, side)
    mean, _ = vae.encoder(pixels)
    assert vae.decoder(mean).shape == pixels.shape


@pytest.mark.parametrize("side", [8, 20, 72])
def test_other_sides_are_refused(side: int) -> None:
    with pytest.raises(UnsupportedSpace, match="16 to 64"):
        VAE(side, 1, 4)


class Fixed(nn.Module):
    """Says the same of every picture."""

    def __init__(self, *values: torch.Tensor) -> None:
        super().__init__()
        self.values = values

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        return self.values[0] if len(self.values) == 1 else self.values


def test_a_picture_costs_the_sum_of_squares_and_at_least_the_free_nats() -> None:
    vae, pixels = VAE(16, 1, 2), torch.zeros(2, 1, 16, 16)
    mean, logvar = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.zeros(2, 2)
    vae.encoder = Fixed(mean, logvar)  # type: ignore[assignment]
    vae.decoder = Fixed(torch.full((2, 1, 16, 16), 0.5))  # type: ignore[assignment]
    assert kl_to_unit(mean, logvar).tolist() == [2.0, 0.0]
    losses = vae.loss(pixels, torch.zeros(2, 2), free=0.5)
    assert losses["error"].item() == pytest.approx(256 * 0.25)
    assert losses["divergence"].item() == pytest.approx(1.0)
    # One picture costs its two nats, the other the floor of one: picture by picture.
    assert losses["total"].item() == pytest.approx(64 + 1.5)


def test_a_divergence_by_hand() -> None:
    found = kl_to_unit(torch.tensor([1.0]), torch.tensor([math.log(4.0)]))
    assert found.item() == pytest.approx(0.5 * (1 + 4 - 1 - math.log(4)))


# One number, two components: weights 1/4 and 3/4, means 0 and 2, deviations 1 and 1/2.
RAW = torch.tensor([[math.log(1.0), math.log(3.0), 0.0, 2.0, 0.0, math.log(0.5)]])


def density(x: float, mean: float, std: float) -> float:
    return math.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("x", [-1.0, 0.5, 2.0, 30.0])
def test_the_likelihood_of_a_mixture(x: float) -> None:
    found = mixture(RAW, 2).loss(torch.tensor([[x]])).item()
    if x < 10:
        chance = 0.25 * density(x, 0, 1) + 0.75 * density(x, 2, 0.5)
        assert found == pytest.approx(-math.log(chance), rel=1e-5)
    else:  # densities themselves would be 0
        first = -math.log(0.25) + 0.5 * x**2 + 0.5 * math.log(2 * math.pi)
        assert found == pytest.approx(first, rel=1e-5)


def test_every_number_has_a_mixture_of_its_own() -> None:
    raw = torch.randn(4, 3 * 5 * 3)
    found, value = mixture(raw, 5), torch.randn(4, 3)
    parts = raw.reshape(4, 3, 15)
    logits, mean, log_std = parts[..., :5], parts[..., 5:10], parts[..., 10:]
    normal = torch.distributions.Normal(mean, log_std.exp())
    categorical = torch.distributions.Categorical(logits=logits)
    expected = torch.distributions.MixtureSameFamily(categorical, normal).log_prob(value)
    torch.testing.assert_close(found.loss(value), -expected)


def test_temperature_divides_logits_and_multiplies_deviations_by_its_root() -> None:
    found = mixture(RAW, 2)
    normal = torch.ones(1, 1)
    # With temperature 1 the noise lets the rarer component win, by 1.2 against log 3 = 1.0986.
    noise = torch.tensor([[[1.2, 0.0]]])
    assert found.sample(noise, normal, 1.0).item() == pytest.approx(1.0)
    assert found.sample(noise, normal, 0.25).item() == pytest.approx(2 + 0.5 * 0.5)
    assert found.sample(torch.zeros(1, 1, 2), normal, 4.0).item() == pytest.approx(2 + 2 * 0.5)
    assert found.sample(noise * 0, normal * 0, 1e-4).item() == pytest.approx(2.0)


def raw_of(x: dict[str, torch.Tensor]) -> torch.Tensor:
    """What a network says of the mixture of a golden case: (..., S, 3 K)."""
    return torch.cat([x["logits"], x["mean"], x["log_std"]], -1)


@pytest.mark.parametrize("case", cases(ORACLE, "mdn"))
def test_likelihoods_and_gradients_equal_the_golden_ones(case: str) -> None:
    inputs, outputs, _ = load(ORACLE, case)
    x = tensors(inputs)
    raw, components = raw_of(x).requires_grad_(), x["mean"].shape[-1]
    nll = mixture(raw.flatten(-2), components).loss(x["target"])
    close(nll, outputs["nll"])
    close(nll.mean(), outputs["loss_mean"])
    (grad,) = torch.autograd.grad(nll.mean(), raw)
    for name, part in zip(("logits", "mean", "log_std"), grad.split(components, -1), strict=True):
        close(part, outputs[f"grad_{name}"])


@pytest.mark.parametrize("case", cases(ORACLE, "mdn"))
def test_what_is_drawn_at_a_temperature_has_the_golden_weights_and_deviations(case: str) -> None:
    inputs, outputs, _ = load(ORACLE, case)
    x, components = tensors(inputs), inputs["mean"].shape[-1]
    found, temperature = mixture(raw_of(x).flatten(-2), components), float(x["temperature"])
    # Noise that makes up for the weights: whichever gets a little more is drawn.
    level = -torch.from_numpy(outputs["weights_with_temperature"]).log()
    normal = torch.ones(level.shape[:-1])
    for k in range(components):
        noise = level + 1e-6 * torch.eye(components)[k]
        mean = found.sample(noise, 0 * normal, temperature)
        close(mean, inputs["mean"][..., k])
        away = found.sample(noise, normal, temperature) - mean
        close(away, outputs["std_with_temperature"][..., k])


def test_the_lstm_is_torchs() -> None:
    torch.manual_seed(0)
    ours = MDNRNN(3, 2, units=4).lstm
    theirs = nn.LSTM(5, 4, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.weight)
        theirs.weight_hh_l0.copy_(ours.recurrent)
        theirs.bias_ih_l0.copy_(ours.bias)
        theirs.bias_hh_l0.zero_()
    x = torch.randn(2, 7, 5)
    first = torch.zeros(2, 7, dtype=torch.bool)
    torch.testing.assert_close(ours.unroll(x, first), theirs(x)[0])
    first[0, 3] = True
    found = ours.unroll(x, first)
    torch.testing.assert_close(found[:1, 3:], theirs(x[:1, 3:])[0])
    torch.testing.assert_close(found[1:], theirs(x[1:])[0])


def test_a_controller_by_hand() -> None:
    senses, memory = torch.tensor([[2.0]]), Memory(torch.tensor([[3.0]]), torch.tensor([[5.0]]))
    one = torch.tensor([[10.0, 100.0, 1.0]])
    assert Controller(1, 1, 1, "zh", 0)(one, senses, memory).tolist() == [[321.0]]
    assert Controller(1, 1, 1, "z", 0)(one[:, :2], senses, memory).tolist() == [[120.0]]
    full = torch.tensor([[1.0, 1.0, 1.0, 0.5]])
    assert Controller(1, 1, 1, "zhc", 0)(full, senses, memory).tolist() == [[10.5]]
    layers = torch.tensor([[0.1, 0.0, 0.0, 0.3, 2.0, -1.0, 0.25]])
    expected = 2 * math.tanh(0.2) - math.tanh(0.3) + 0.25
    found = Controller(1, 1, 1, "z", 2)(layers, senses, memory)
    assert found.item() == pytest.approx(expected)


def test_without_actions_it_generates_sequences_of_either_kind() -> None:
    """After 0 comes 1 or -1, each half of the time, and then that for ever."""
    torch.manual_seed(0)
    model, generator = MDNRNN(1, 0, units=8, components=2), torch.Generator().manual_seed(0)
    sign = torch.where(torch.arange(64) % 2 == 0, 1.0, -1.0)
    truth = torch.cat([torch.zeros(64, 1), sign[:, None].expand(-1, 4)], 1)[..., None]
    truth = truth + 0.1 * torch.randn(truth.shape)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    first = torch.zeros(64, 4, dtype=torch.bool)
    for _ in range(300):
        foretold = model.foretell(model.lstm.unroll(truth[:, :-1], first))
        loss = foretold.senses.loss(truth[:, 1:]).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 1.0)
        optimizer.step()
    found = model.generate(torch.zeros(200, 1, 1), 4, 1.0, generator)[..., 0]
    ups = (found[:, 0] > 0).float().mean().item()
    assert 0.3 < ups < 0.7
    assert ((found[:, -1] - found[:, 0].sign()).abs() < 0.5).float().mean() > 0.85
