import math

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from agents.blocks.adam import Adam, FusedAdam, clip_global_
from agents.blocks.optim import LaProp

SHAPES = ((3, 2), (4,), (), (2, 2, 2))


def made():
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(s, generator=generator).double()) for s in SHAPES]


def run(step, params, count, generator):
    for _ in range(count):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator).double()
        step()


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_equals_torch(decay):
    """AdamW decays what is told apart as the matrices; without decay it is Adam."""
    ours, theirs = made(), made()
    wide = [p for p in theirs if p.ndim >= 2]
    narrow = [p for p in theirs if p.ndim < 2]
    groups = [{"params": wide, "weight_decay": decay}, {"params": narrow, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.03, eps=1e-3)
    optimiser = Adam(ours, lr=0.03, eps=1e-3, clip=1e9, weight_decay=decay)
    run(optimiser.step, ours, 12, torch.Generator().manual_seed(1))
    run(reference.step, theirs, 12, torch.Generator().manual_seed(1))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_equals_torch_with_clipping():
    ours, theirs = made(), made()
    optimiser, reference = Adam(ours, lr=0.03, clip=0.5), torch.optim.Adam(theirs, 0.03, eps=1e-6)

    def step():
        nn.utils.clip_grad_norm_(theirs, 0.5)
        reference.step()

    run(optimiser.step, ours, 5, torch.Generator().manual_seed(1))
    run(step, theirs, 5, torch.Generator().manual_seed(1))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_the_norm_of_all_gradients_is_clipped():
    grads = [torch.tensor([3.0]), torch.tensor([[0.0, 4.0]])]
    assert clip_global_(grads, 2.5).item() == 5.0
    torch.testing.assert_close(grads[0], torch.tensor([1.5]))
    torch.testing.assert_close(grads[1], torch.tensor([[0.0, 2.0]]))
    assert clip_global_(grads, 2.6).item() == 2.5
    torch.testing.assert_close(grads[0], torch.tensor([1.5]))


def test_a_step_by_hand():
    """The first step moves by the learning rate; the matrix has lost a tenth before."""
    matrix, vector = nn.Parameter(torch.full((1, 1), 2.0)), nn.Parameter(torch.tensor([2.0]))
    optimiser = Adam([matrix, vector], lr=0.1, clip=2.5, eps=0.0, weight_decay=1.0)
    matrix.grad, vector.grad = torch.full((1, 1), 3.0), torch.tensor([-4.0])
    assert optimiser.step().item() == 5.0
    assert matrix.item() == pytest.approx(2.0 * 0.9 - 0.1)
    assert vector.item() == pytest.approx(2.1)
    assert optimiser.state_dict()["mean/0"].item() == pytest.approx(0.15)


def test_without_gradient_nothing_moves_and_all_stays_finite():
    param = nn.Parameter(torch.ones(3))
    optimiser = Adam([param])
    param.grad = torch.zeros(3)
    assert optimiser.step().item() == 0
    assert param.tolist() == [1.0] * 3


def test_goes_on_from_its_state_as_if_nothing_had_happened():
    straight, stopped = made(), made()
    run(Adam(straight, lr=0.1).step, straight, 8, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    first, second = Adam(stopped, lr=0.1), Adam(stopped, lr=0.1)
    run(first.step, stopped, 5, generator)
    second.load_state_dict(load(save(first.state_dict())))
    run(second.step, stopped, 3, generator)
    for a, b in zip(straight, stopped, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", [Adam, LaProp])
def test_refuses_the_state_of_other_parameters(kind):
    with pytest.raises(ValueError, match="other parameters"):
        kind(made()[:2]).load_state_dict(Adam(made()).state_dict())


def test_a_step_is_captured_whole():
    plain, traced = made(), made()
    first, second = Adam(plain, lr=0.1), Adam(traced, lr=0.1)
    run(first.step, plain, 3, torch.Generator().manual_seed(1))
    step = torch.compile(second.step, backend="eager", fullgraph=True)
    run(step, traced, 3, torch.Generator().manual_seed(1))
    for a, b in zip(plain, traced, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("clip", [math.inf, 0.5])
def test_adam_in_one_call_is_torchs(clip: float) -> None:
    torch.manual_seed(0)
    ours, theirs = (
        [nn.Parameter(torch.arange(6.0).reshape(2, 3)), nn.Parameter(torch.ones(4))]
        for _ in range(2)
    )
    mine, reference = FusedAdam(ours, 0.01, clip), torch.optim.Adam(theirs, 0.01)
    for _ in range(5):
        grads = [torch.randn_like(p) for p in ours]
        for p, q, grad in zip(ours, theirs, grads, strict=True):
            p.grad, q.grad = grad.clone(), grad.clone()
        norm = mine.step()
        expected = nn.utils.clip_grad_norm_(theirs, clip)
        reference.step()
        torch.testing.assert_close(norm, expected)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    other = FusedAdam([nn.Parameter(p.detach().clone()) for p in ours], 0.01, clip)
    other.load_state_dict({k: t.clone() for k, t in mine.state_dict().items()})
    for optimizer in (mine, other):
        for p in optimizer.param_groups[0]["params"]:
            p.grad = torch.ones_like(p)
        optimizer.step()
    for p, q in zip(ours, other.param_groups[0]["params"], strict=True):
        assert torch.equal(p, q)
