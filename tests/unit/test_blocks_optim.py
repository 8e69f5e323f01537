import json
import re

import pytest
import torch
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import nn

from agents.blocks.optim import LaProp
from tests.oracle_cases import cases, close, load, tensor

FILE = "6_optimizer"
NAMES = {"wd": "weight_decay"}


def _settings(text):
    found = json.loads(re.search(r"\{.*?\}", text)[0].replace("'", '"'))
    assert found.pop("schedule", "linear") == "linear"
    return {NAMES.get(key, key): value for key, value in found.items()}


@pytest.mark.parametrize("case", cases(FILE))
def test_oracle(case):
    x, y, meta = load(FILE, case)
    names = [key[2:] for key in x if key.startswith("p:")]
    params = [nn.Parameter(tensor(x[f"p:{name}"])) for name in names]
    optimiser = LaProp(params, **_settings(meta["checks"]))
    # The reference computes its schedule in float32: its rate is off by a rounding of the full one.
    rounding = optimiser.lr * 2**-23
    for t in range(len(x[f"grad:{names[0]}"])):
        before = [p.detach().clone() for p in params]
        grads = [tensor(x[f"grad:{name}"][t]) for name in names]
        for p, grad in zip(params, grads, strict=True):
            p.grad = grad.clone()
        norm = optimiser.step()
        torch.testing.assert_close(norm, torch.cat([g.flatten() for g in grads]).norm())
        for p, old, name in zip(params, before, names, strict=True):
            close(p.grad, y[f"agc_grad:{name}"][t], rtol=1e-9 if t < 2 else 1e-6)
            close(p - old, y[f"update:{name}"][t], rtol=1e-6, atol=rounding)
            close(p, y[f"param_after:{name}"][t], rtol=1e-9, atol=rounding * (t + 1))


def _problem(steps, optimiser, params, generator):
    for _ in range(steps):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator)
        optimiser.step()


def _params():
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 2), (4,), ())]


def test_goes_on_from_its_state_as_if_nothing_had_happened():
    straight, stopped = _params(), _params()
    whole, first = LaProp(straight, lr=0.1, warmup=3), LaProp(stopped, lr=0.1, warmup=3)
    _problem(8, whole, straight, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    _problem(5, first, stopped, generator)
    stored = save_bytes(first.state_dict())
    second = LaProp(stopped, lr=0.1, warmup=3)
    second.load_state_dict(load_bytes(stored))
    _problem(3, second, stopped, generator)
    for a, b in zip(straight, stopped, strict=True):
        assert torch.equal(a, b)


def test_refuses_the_state_of_other_parameters():
    state = LaProp(_params()).state_dict()
    with pytest.raises(ValueError, match="other parameters"):
        LaProp(_params()[:2]).load_state_dict(state)


def test_the_first_update_moves_nothing_and_learning_then_works():
    param = nn.Parameter(torch.tensor([3.0, -2.0]))
    optimiser = LaProp([param], lr=0.05, warmup=2)
    for step in range(300):
        optimiser.zero_grad()
        param.square().sum().backward()
        optimiser.step()
        assert step > 0 or param.tolist() == [3.0, -2.0]
    assert param.abs().max() < 0.2


def test_a_parameter_without_gradient_size_stays_finite():
    param = nn.Parameter(torch.zeros(3))
    optimiser = LaProp([param], warmup=1)
    for _ in range(3):
        param.grad = torch.zeros(3)
        assert optimiser.step().item() == 0
    assert param.tolist() == [0.0] * 3


def test_a_compiled_step_equals_the_plain_one():
    plain, compiled = _params(), _params()
    first, second = LaProp(plain, lr=0.1, warmup=2), LaProp(compiled, lr=0.1, warmup=2)
    _problem(4, first, plain, torch.Generator().manual_seed(1))
    step = torch.compile(second.step, backend="aot_eager", fullgraph=True)
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        for p in compiled:
            p.grad = torch.randn(p.shape, generator=generator)
        assert step().isfinite()
    for a, b in zip(plain, compiled, strict=True):
        torch.testing.assert_close(a, b)
    assert second.state_dict()["updates"] == 4
