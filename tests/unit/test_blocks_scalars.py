import pytest
import torch

from agents.blocks.scalars import (
    SymexpTwohot,
    SymlogNumber,
    TwoHot,
    UnitNormal,
    symexp,
    symexp_bins,
    symlog,
)
from tests.oracle_cases import cases, close, load, tensor

FILE = "1_symlog_twohot"
BINS = symexp_bins(dtype=torch.float64)


def _twohot(logits):
    return TwoHot(torch.log_softmax(logits, -1), BINS)


def check_symlog_symexp_grid(x, y):
    grid = tensor(x["x"])
    close(symlog(grid), y["symlog"])
    close(symexp(grid), y["symexp"])
    close(symlog(symexp(grid)), y["symlog_of_symexp"])


def check_symlog_large(x, y):
    close(symlog(tensor(x["x"])), y["symlog"])


def check_bins255(x, y):
    close(BINS, y["bins"])
    single = symexp_bins()
    assert single[127] == 0
    assert torch.equal(single, -single.flip(0))


def check_twohot_loss(x, y):
    logits = tensor(x["logits"]).requires_grad_()
    head = _twohot(logits)
    loss = head.loss(tensor(x["target"]))
    close(loss, y["loss"])
    close(head.pred(), y["pred"])
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    close(gradient, y["grad_of_summed_loss"], atol=1e-10)
    pair, weight = head.encode(tensor(x["target"]))
    ours = torch.zeros_like(logits).scatter_add(-1, pair, weight)
    golden = torch.zeros_like(logits)
    for side in ("below", "above"):
        index = tensor(y[f"index_{side}"])[:, None]
        golden = golden.scatter_add(-1, index, tensor(y[f"weight_{side}"])[:, None])
    close(ours, golden.detach().numpy(), atol=1e-9)


def check_twohot_pred(x, y):
    logits = tensor(x["logits"])
    close(_twohot(logits).pred(), y["pred"])
    assert _twohot(logits).pred()[:2].tolist() == [0.0, 0.0] == y["pred_constant_logits"].tolist()


@pytest.mark.parametrize("case", cases(FILE))
def test_oracle(case):
    x, y, _ = load(FILE, case)
    globals()[f"check_{case}"](x, y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("level", [0.0, 3.7, -12.3])
def test_equal_logits_predict_exactly_nothing(dtype, level):
    logits = torch.full((4, 255), level, dtype=dtype)
    assert SymexpTwohot()(logits).pred().tolist() == [0.0] * 4


def test_round_trip_over_all_magnitudes():
    sizes = torch.logspace(-6, 6, 400)
    target = torch.cat([-sizes, sizes, torch.zeros(1)])
    empty = SymexpTwohot()(torch.zeros(len(target), 255))
    pair, weight = empty.encode(target)
    probs = torch.zeros(len(target), 255).scatter_add(-1, pair, weight)
    back = TwoHot(probs.log(), empty.bins).pred()
    torch.testing.assert_close(back, target, rtol=1e-3, atol=1e-7)


def test_numbers_beyond_the_bins_fall_on_the_last_one():
    pair, weight = _twohot(torch.zeros(2, 255)).encode(tensor(torch.tensor([1e12, -1e12]).numpy()))
    assert pair.tolist() == [[254, 254], [0, 0]]
    assert weight.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_loss_moves_logits_only_and_a_part_is_a_part():
    logits = torch.randn(3, 4, 255, requires_grad=True)
    target = torch.randn(3, 4, requires_grad=True)
    head = SymexpTwohot()(logits)
    torch.testing.assert_close(head[:, :-1].loss(target[:, :-1]), head.loss(target)[:, :-1])
    head.loss(target).sum().backward()
    assert target.grad is None
    assert logits.grad.any()


def test_an_even_number_of_bins_has_no_middle():
    with pytest.raises(ValueError, match="odd"):
        symexp_bins(254)


def test_a_unit_normal_costs_half_the_squared_distance():
    mean = torch.tensor([1.0, -2.0], requires_grad=True)
    target = torch.tensor([4.0, -2.0], requires_grad=True)
    head = UnitNormal(mean)
    loss = head.loss(target)
    assert loss.tolist() == [4.5, 0.0]
    reference = torch.distributions.Normal(mean, 1.0)
    constant = reference.log_prob(mean)
    torch.testing.assert_close(loss, constant - reference.log_prob(target))
    loss.sum().backward()
    assert mean.grad.tolist() == [-3.0, 0.0]
    assert target.grad is None
    assert head[:1].pred().tolist() == [1.0]


def test_a_symlog_number_costs_the_squared_distance_in_symlog_space():
    raw = torch.tensor([0.0, 2.0], requires_grad=True)
    target = symexp(torch.tensor([3.0, -1.0])).requires_grad_()
    head = SymlogNumber(raw)
    loss = head.loss(target)
    torch.testing.assert_close(loss, torch.tensor([9.0, 9.0]))
    loss.sum().backward()
    torch.testing.assert_close(raw.grad, torch.tensor([-6.0, 6.0]))
    assert target.grad is None
    torch.testing.assert_close(head[1:].pred(), torch.tensor([torch.e**2 - 1]))
