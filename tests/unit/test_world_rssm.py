"""The recurrent model: the reference's numbers, and what shape tests do not see."""

import pytest
import torch
from torch.nn.functional import one_hot

from agents.blocks.dists import one_hot_latent
from agents.world.rssm import RSSM, Carry, features
from agents.world.sizes import Size
from tests.oracle_cases import cases, close, load, tensors
from tests.unit import worlds

FILE = "4_rssm_core"
SIZES = {
    "continuous_d32": Size(deter=32, hidden=16, classes=4, depth=2, units=16, stoch=4),
    "discrete_d16_b4": Size(deter=16, hidden=8, classes=5, depth=2, units=8, stoch=3, blocks=4),
}
SMALL = SIZES["continuous_d32"]
LAYERS = {
    "cell.deter_in": "dynin0",
    "cell.stoch_in": "dynin1",
    "cell.action_in": "dynin2",
    "cell.mix": "dynhid0",
    "cell.gates": "dyngru",
    "posterior_in": "obs0",
    "posterior_out": "obslogit",
    "prior_in.0": "prior0",
    "prior_in.1": "prior1",
    "prior_out": "priorlogit",
}


def kl_losses(posterior, prior):
    """Of raw outputs (..., S, K) twice."""
    return worlds.kl_losses(one_hot_latent(posterior), one_hot_latent(prior))


class Forced(RSSM):
    """Takes the given samples, handed in as noise, in place of drawing."""

    def sample(self, logits, noise):
        return noise


def oracle_name(name):
    layer, _, leaf = name.removesuffix(".tail.0.scale").rpartition(".")
    if name.endswith(".tail.0.scale"):
        return f"dyn/{LAYERS[name.removesuffix('.tail.0.scale')]}norm/scale"
    return f"dyn/{LAYERS[layer]}/{'kernel' if leaf == 'weight' else 'bias'}"


def as_stored(name, value):
    dense = name.endswith("weight") and value.ndim == 2
    return value.T if dense else value


def forced(case):
    given, expected, _ = load(FILE, case)
    given = tensors(given)
    width = len(given["w:dyn/dynin2/kernel"])
    for key in ("action", "imag_action"):
        if not given[key].is_floating_point():
            given[key] = one_hot(given[key].long(), width).double()
    model = Forced(given["tokens"].shape[-1], width, SIZES[case]).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(as_stored(name, given[f"w:{oracle_name(name)}"]))
    return model, given, expected


def observe(model, given):
    start = Carry(given["init_deter"], given["init_stoch"])
    return model.observe(
        given["tokens"], given["action"], given["reset"], start, given["stoch_given"]
    )


def test_every_case_of_the_file_is_known():
    assert set(SIZES) == set(cases(FILE))


@pytest.mark.parametrize("case", cases(FILE))
def test_filtering_equals_the_reference(case):
    model, given, expected = forced(case)
    _, states = observe(model, given)
    prior = model.prior(states.deter)
    dyn, rep = kl_losses(states.raw, prior)
    close(states.deter, expected["deter"])
    close(states.raw, expected["posterior_logits"])
    close(prior, expected["prior_logits"])
    close(dyn, expected["dyn_loss"])
    close(rep, expected["rep_loss"])


@pytest.mark.parametrize("case", cases(FILE))
def test_gradients_equal_the_reference(case):
    model, given, expected = forced(case)
    _, states = observe(model, given)
    dyn, rep = kl_losses(states.raw, model.prior(states.deter))
    loss = dyn.mean() + 0.1 * rep.mean()
    loss.backward()
    close(loss, expected["loss_total"])
    named = dict(model.named_parameters())
    assert len(named) == sum(key.startswith("g:") for key in expected)
    for name, parameter in named.items():
        close(as_stored(name, parameter.grad), expected[f"g:{oracle_name(name)}"])


@pytest.mark.parametrize("case", cases(FILE))
def test_imagination_equals_the_reference(case):
    model, given, expected = forced(case)
    carry, _ = observe(model, given)
    carry = Carry(carry.deter, given["stoch_given"][:, -1])
    given_stochs = given["imag_stoch_given"]
    for t in range(given["imag_action"].shape[1]):
        noise = given_stochs[:, min(t, given_stochs.shape[1] - 1)]
        carry = model.imagine_step(carry, given["imag_action"][:, t], noise)
        close(carry.deter, expected["imag_deter"][:, t])
        close(model.prior(carry.deter), expected["imag_prior_logits"][:, t])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return RSSM(6, 3, SMALL).double()


def gumbel(*shape):
    return -torch.empty(shape, dtype=torch.float64).exponential_().log()


def window(b, t):
    noise = gumbel(b, t, SMALL.stoch, SMALL.classes)
    tokens, actions = (torch.randn(b, t, n, dtype=torch.float64) for n in (6, 3))
    return tokens, 2 * actions, torch.zeros(b, t, dtype=torch.bool), noise


def some_carry(model, n):
    tokens, actions, first, noise = window(n, 3)
    return model.observe(tokens, actions, first, model.initial(n), noise)[0]


def test_a_window_equals_its_steps(model):
    tokens, actions, first, noise = window(2, 5)
    first[0, 2] = True
    carry = start = some_carry(model, 2)
    end, states = model.observe(tokens, actions, first, start, noise)
    for t in range(5):
        carry, state = model.step(tokens[:, t], actions[:, t], first[:, t], carry, noise[:, t])
        for whole, one in zip(states, state, strict=True):
            torch.testing.assert_close(whole[:, t], one)
    for whole, one in zip(end, carry, strict=True):
        torch.testing.assert_close(whole, one)


def test_a_reset_inside_a_window_equals_a_fresh_start(model):
    tokens, actions, first, noise = window(2, 6)
    first[:, 3] = True
    _, states = model.observe(tokens, actions, first, some_carry(model, 2), noise)
    late = actions[:, 3:].clone()
    late[:, 0] = 0
    never = torch.zeros(2, 3, dtype=torch.bool)
    _, fresh = model.observe(tokens[:, 3:], late, never, model.initial(2), noise[:, 3:])
    for whole, part in zip(states, fresh, strict=True):
        torch.testing.assert_close(whole[:, 3:], part)


def test_imagination_moves_at_every_step_and_listens_to_the_action(model):
    carry = some_carry(model, 4)
    action, noise = torch.ones(4, 3, dtype=torch.float64), gumbel(4, SMALL.stoch, SMALL.classes)
    for _ in range(5):
        following = model.imagine_step(carry, action, noise)
        other = model.imagine_step(carry, -action, noise)
        assert not torch.isclose(following.deter, carry.deter).all(-1).any()
        assert not torch.isclose(following.deter, other.deter).all(-1).any()
        carry = following


def test_samples_are_one_hot_and_follow_the_noise(model):
    logits = torch.randn(3, SMALL.stoch, SMALL.classes, dtype=torch.float64)
    forced_to = one_hot(torch.randint(SMALL.classes, (3, SMALL.stoch)), SMALL.classes).double()
    torch.testing.assert_close(model.sample(logits, 1e3 * forced_to), forced_to)


def test_loud_actions_are_scaled_to_one(model):
    carry, noise = some_carry(model, 2), gumbel(2, SMALL.stoch, SMALL.classes)
    loud, one = (torch.full((2, 3), x, dtype=torch.float64) for x in (7.0, 1.0))
    torch.testing.assert_close(
        model.imagine_step(carry, loud, noise).deter, model.imagine_step(carry, one, noise).deter
    )


def test_each_divergence_teaches_one_side(model):
    posterior, prior = (
        (3 * torch.randn(2, 5, 4, 4, dtype=torch.float64)).requires_grad_() for _ in range(2)
    )
    dyn, rep = kl_losses(posterior, prior)
    torch.testing.assert_close(dyn, rep)
    assert torch.autograd.grad(dyn.sum(), (posterior, prior), allow_unused=True)[0] is None
    assert torch.autograd.grad(rep.sum(), (posterior, prior), allow_unused=True)[1] is None
    same, _ = kl_losses(posterior, posterior)
    assert (same == 1).all()


def test_features_are_deter_then_stoch(model):
    carry = some_carry(model, 2)
    seen = features(*carry)
    assert seen.shape == (2, SMALL.features)
    torch.testing.assert_close(seen[:, : SMALL.deter], carry.deter)


def test_bfloat16_autocast_keeps_the_state_in_float32():
    torch.manual_seed(0)
    model = RSSM(6, 3, SMALL)
    tokens, actions, first, noise = window(2, 4)
    given = (tokens.float(), actions.float(), first, model.initial(2), noise.float())
    with torch.autocast("cpu", torch.bfloat16):
        carry, states = model.observe(*given)
        carry = model.imagine_step(carry, given[1][:, 0], given[4][:, 0])
        sum(loss.mean() for loss in kl_losses(states.raw, model.prior(states.deter))).backward()
    assert {x.dtype for x in carry} == {torch.float32}
    _, exact = model.observe(*given)
    torch.testing.assert_close(states.deter[:, 0], exact.deter[:, 0], rtol=0.05, atol=0.05)
