import json
import re

import pytest
import torch

from agents.blocks.normalize import (
    MeanStdNormaliser,
    ReturnNormaliser,
    percentiles,
    slow_copy,
    slow_update_,
)
from agents.blocks.policies import Normal, categorical
from agents.blocks.returns import (
    imagination_weights,
    lambda_return,
    policy_loss,
    replay_return,
    replay_value_loss,
    value_loss,
)
from agents.blocks.scalars import TwoHot, symexp_bins
from tests.oracle_cases import cases, close, load, tensor, tensors

FILE = "3_returns_losses"
BINS = symexp_bins(dtype=torch.float64)


def _settings(text):
    """The settings that a case's text holds between braces."""
    words = re.search(r"\{'.*?\}", text)[0].replace("'", '"')
    return json.loads(words.replace("True", "true").replace("False", "false"))


def _critic(logits):
    return TwoHot(torch.log_softmax(logits, -1), BINS)


def check_lambda_return(x, y, meta):
    x = tensors(x)
    live = x["disc"] * (1 - x["term"].double())
    ours = lambda_return(x["rew"], live, x["boot"], x["lam"] * (1 - x["last"].double()))
    close(ours, y["ret"])
    replay = replay_return(
        x["rew"], x["last"], x["term"], x["boot"], lam=x["lam"].item(), discount=x["disc"].item()
    )
    close(replay, y["ret"])


def check_normalizer(x, y, meta):
    settings = _settings(meta["checks"] + meta["equation"])
    kind = {"perc": ReturnNormaliser, "meanstd": MeanStdNormaliser}[settings["impl"]]
    ours = kind(settings["rate"], settings["limit"], settings["debias"]).double()
    for k, batch in enumerate(tensor(x["x"])):
        ours.update(batch)
        close(ours.offset(), y["offset"][k])
        close(ours.scale(), y["scale"][k])
    names = {"perc": ("lo", "hi"), "meanstd": ("mean", "sqrs")}[settings["impl"]]
    for state, name in zip(ours.average, names, strict=True):
        close(state, y[f"final_{name}"])
    if settings["debias"]:
        close(ours.weight, y["final_corr"])


def check_slow_value(x, y, meta):
    source = torch.nn.ParameterList([torch.nn.Parameter(tensor(x["source"][0]))])
    slow = slow_copy(source)
    for values, golden in zip(tensor(x["source"]), y["slow"], strict=True):
        source[0].data.copy_(values)
        slow_update_(slow, source, 0.02)
        close(slow[0], golden)


def _policy(x):
    if "policy_logits" in x:
        return categorical(x["policy_logits"])
    return Normal(x["policy_mean"], x["policy_std"])


def check_imag_loss(x, y, meta):
    settings = _settings(meta["checks"] + meta["equation"])
    discount = 1.0 if "contdisc=True" in meta["checks"] else 1 - 1 / 333
    x = tensors(x)
    wrt = [k for k in x if k in ("rew", "con") or k.endswith("_logits") or k.startswith("policy_")]
    for name in wrt:
        x[name].requires_grad_()
    policy, value, slow = _policy(x), _critic(x["value_logits"]), _critic(x["slow_logits"])
    with torch.no_grad():
        returns = lambda_return(x["rew"], discount * x["con"], value.pred(), settings["lam"])
    weights = imagination_weights(x["con"], discount)
    scale = ReturnNormaliser().double()
    scale.average.copy_(torch.stack([x["retnorm_lo"], x["retnorm_hi"]]))
    scale.update(returns)
    advantage = (returns - value[:, :-1].pred()) / scale.scale()
    entropy_loss = -settings["actent"] * policy.entropy()[:, :-1]
    log_prob = policy.log_prob(x["act"])[:, :-1]
    slow_value = slow.pred()[:, :-1].detach()
    critic_loss = value_loss(value[:, :-1], slow_value, returns, settings["slowreg"])
    losses = {
        "policy": policy_loss(weights[:, :-1], advantage, log_prob, entropy_loss),
        "value": weights[:, :-1] * critic_loss,
    }
    ours = {
        "ret": returns,
        "policy_loss": losses["policy"],
        "value_loss": losses["value"],
        "retnorm_lo_after": scale.average[0],
        "retnorm_hi_after": scale.average[1],
        "scale_after": scale.scale(),
        "value_pred": value.pred(),
        "slow_pred": slow.pred(),
        "weight": weights,
    }
    for kind in ("policy", "value"):
        total = losses[kind].mean()
        ours |= _named_gradients(f"mean_{kind}", total, {name: x[name] for name in wrt})
    assert set(y) <= set(ours)
    for name, golden in y.items():
        close(ours[name], golden)


def _named_gradients(kind, total, wrt):
    found = torch.autograd.grad(total, list(wrt.values()), retain_graph=True, allow_unused=True)
    dense = {
        k: torch.zeros_like(w) if g is None else g
        for g, (k, w) in zip(found, wrt.items(), strict=True)
    }
    largest = {f"maxabs_grad_{kind}_wrt_{k}": g.abs().max() for k, g in dense.items()}
    return largest | {f"grad_{kind}_wrt_{k}": g for k, g in dense.items()}


def check_repl_loss(x, y, meta):
    settings = _settings(meta["checks"] + meta["equation"])
    x = tensors(x)
    for name in ("value_logits", "slow_logits", "boot"):
        x[name].requires_grad_()
    value, slow = _critic(x["value_logits"]), _critic(x["slow_logits"])
    returns = replay_return(x["rew"], x["last"], x["term"], x["boot"], lam=settings["lam"])
    loss = replay_value_loss(
        value[:, :-1],
        slow.pred()[:, :-1],
        returns,
        x["last"][:, :-1],
        slow_scale=settings["slowreg"],
    )
    close(returns, y["ret"])
    close(loss, y["repval_loss"])
    grads = torch.autograd.grad(
        loss.mean(), [x[k] for k in ("value_logits", "slow_logits", "boot")], allow_unused=True
    )
    close(grads[0], y["grad_mean_repval_wrt_value_logits"])
    assert grads[1:] == (None, None)
    assert y["maxabs_grad_wrt_slow_logits"] == y["maxabs_grad_wrt_boot"] == 0


CHECKS = {
    name.removeprefix("check_"): check for name, check in globals().items() if name[:6] == "check_"
}


@pytest.mark.parametrize("case", cases(FILE))
def test_oracle(case):
    (check,) = [check for kind, check in CHECKS.items() if case.startswith(kind)]
    check(*load(FILE, case))


# Columns 0..3; rewards 1, 2, 4 on arriving; everything is worth 10; discount and lambda 1/2.
HAND = {
    # R2 = 4 + .5*10 = 9; R1 = 2 + .5(.5*10 + .5*9) = 6.75; R0 = 1 + .5(5 + 3.375) = 5.1875
    "nothing": ([], [], [5.1875, 6.75, 9.0]),
    # Arriving at column 2 ends it: R1 = 2; R0 = 1 + .5(5 + 1) = 4
    "terminal": ([2], [2], [4.0, 2.0, 9.0]),
    # Column 2 is only cut: R1 = 2 + .5*10 = 7; R0 = 1 + .5(5 + 3.5) = 5.25
    "truncation": ([2], [], [5.25, 7.0, 9.0]),
    # Column 1 is an episode's last row, column 2 the first of another: R0 = 1 + .5*10 = 6
    "reset": ([1], [], [6.0, 6.75, 9.0]),
}


@pytest.mark.parametrize("case", HAND)
def test_lambda_return_by_hand(case):
    last, terminal, expected = HAND[case]
    columns = torch.arange(4)[None]
    flags = [torch.isin(columns, torch.tensor(where)) for where in (last, terminal)]
    reward = torch.tensor([[99.0, 1.0, 2.0, 4.0]])
    ours = replay_return(reward, *flags, torch.full((1, 4), 10.0), lam=0.5, discount=0.5)
    assert ours.tolist() == [expected]


@pytest.mark.parametrize("length", [1, 2, 3, 16, 17, 64])
def test_lambda_return_equals_the_plain_recursion(length):
    generator = torch.Generator().manual_seed(length)
    reward, discount, boot, lam = torch.rand(
        4, 3, length, generator=generator, dtype=torch.float64
    ).unbind()
    following = boot[:, -1]
    expected = []
    for t in range(length - 1, 0, -1):
        mixed = (1 - lam[:, t]) * boot[:, t] + lam[:, t] * following
        following = reward[:, t] + discount[:, t] * mixed
        expected.insert(0, following)
    ours = lambda_return(reward, discount, boot, lam)
    assert ours.shape == (3, length - 1)
    for t, column in enumerate(expected):
        torch.testing.assert_close(ours[:, t], column, rtol=1e-12, atol=0)


def test_no_information_crosses_an_episode_end():
    reward, boot = torch.rand(2, 1, 6).unbind()
    last = torch.tensor([[0, 0, 1, 0, 0, 0]], dtype=torch.bool)
    never = torch.zeros_like(last)
    first = replay_return(reward, last, never, boot)[:, :2]
    other = (torch.arange(6) > 2)[None]
    changed = replay_return(reward + 5 * other, last, never, boot + 5 * other)
    assert torch.equal(changed[:, :2], first)


def test_percentiles_agree_with_torch():
    x = torch.randn(7, 13)
    expected = torch.quantile(x.flatten(), torch.tensor([0.05, 0.5, 0.95, 1.0]))
    torch.testing.assert_close(percentiles(x, (5, 50, 95, 100)), expected)


def test_small_returns_are_not_blown_up():
    normaliser = ReturnNormaliser()
    normaliser.update(torch.randn(100) * 1e-3)
    assert normaliser.scale().item() == 1.0
    assert set(normaliser.state_dict()) == {"average", "weight"}
