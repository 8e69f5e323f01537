import pytest
import torch
from torch import nn

from agents.blocks.dists import Bernoulli
from agents.blocks.nets import (
    ELU,
    MLP,
    MODERN,
    NORMED_ELU,
    RELU,
    BlockDense,
    Dense,
    LayerNorm,
    RMSNorm,
    init_conv_,
)
from agents.blocks.policies import Normal, bounded_normal, categorical
from tests.oracle_cases import (
    cases,
    close,
    load,
    load_block,
    load_dense,
    load_mlp,
    load_norm,
    tensor,
)

FILE = "5_layers_heads"


def _hidden(x, head):
    mlp = MLP(6, 8, 1).double()
    load_mlp(mlp, x, f"w:{head}/mlp")
    return mlp(tensor(x["x"]))


def _head(hidden, x, name):
    layer = Dense(8, x[f"{name}/bias"].shape[0], norm=False, act=False).double()
    load_dense(layer, x, name)
    return layer(hidden)


def check_rms_norm(x, y):
    norm = RMSNorm(6).double()
    load_norm(norm, x, "w:norm")
    close(norm(tensor(x["x"])), y["y"])


def check_linear(x, y):
    layer = Dense(6, 5, norm=False, act=False).double()
    load_dense(layer, x, "w:lin")
    close(layer(tensor(x["x"])), y["y"])


def check_block_linear(x, y):
    layer = BlockDense(8, 12, 4).double()
    load_block(layer, x, "w:bl")
    close(layer(tensor(x["x"])), y["y"])


def check_mlp(x, y):
    mlp = MLP(6, 8, 3).double()
    load_mlp(mlp, x, "w:mlp")
    close(mlp(tensor(x["x"])), y["y"])


def check_policy_bounded_normal(x, y):
    hidden = _hidden(x, "pol")
    raw = (_head(hidden, x, f"w:pol/head/action/{part}") for part in ("mean", "stddev"))
    policy = bounded_normal(*raw)
    close(policy.mode(), y["mean"])
    close(policy.std, y["std"])
    close(policy.log_prob(tensor(x["event"])), y["logp"])
    close(policy.entropy(), y["entropy"])
    close(Normal(policy.mean[..., None], policy.std[..., None]).entropy(), y["entropy_per_dim"])
    close(policy.sample(tensor(x["noise"])), y["sample_given_noise"])


def check_policy_categorical(x, y):
    logits = _head(_hidden(x, "pol"), x, "w:pol/head/action/logits")
    policy = categorical(logits)
    close(logits, y["logits"])
    close(policy.log_prob(tensor(x["event"])), y["logp"])
    close(policy.entropy(), y["entropy"])


def check_continue_binary(x, y):
    head = Bernoulli(_head(_hidden(x, "con"), x, "w:con/head/logit")[..., 0])
    close(head.prob(), y["prob1"])
    close(head.loss(tensor(x["target"])), y["loss"])


def check_initialiser_moments(x, y):
    torch.manual_seed(0)
    kernels = {
        "dense_256x1024": (Dense(256, 1024, norm=False, act=False).weight, 256),
        "block_8x100x256": (BlockDense(800, 2048, 8).weight, 800),
        "conv_5x5x32x64": (init_conv_(nn.Conv2d(32, 64, 5)).weight, 800),
    }
    assert {f"std_{name}" for name in kernels} <= set(y)
    for name, (kernel, fan_in) in kernels.items():
        assert kernel.std().item() == pytest.approx(float(y[f"std_{name}"]), rel=0.02)
        assert kernel.abs().max().item() == pytest.approx(float(y[f"maxabs_{name}"]), rel=0.02)
        assert kernel.abs().max() <= 2 * 1.1368 / fan_in**0.5 + 1e-7


# The encoder's and the decoder's cases belong to the tests of those.
@pytest.mark.parametrize(
    "case", [name for name in cases(FILE) if not name.startswith(("encoder", "decoder"))]
)
def test_oracle(case):
    x, y, _ = load(FILE, case)
    globals()[f"check_{case}"](x, y)


def test_biases_start_at_zero_and_a_zero_outscale_silences_the_layer():
    layer = Dense(5, 3, norm=False, act=False, outscale=0.0)
    assert not layer(torch.randn(4, 5)).any()
    assert not init_conv_(nn.Conv2d(2, 3, 3)).bias.any()
    assert Dense(100, 100, norm=False, act=False, outscale=0.01).weight.std() < 0.0012


def test_blocks_do_not_touch_each_other():
    layer = BlockDense(8, 12, 4).double()
    x = torch.randn(3, 8, dtype=torch.float64)
    moved = x.clone()
    moved[:, 2:4] += 1
    changed = (layer(moved) != layer(x)).any(0)
    assert changed.tolist() == [3 <= i < 6 for i in range(12)]


def test_block_widths_must_divide():
    with pytest.raises(ValueError, match="not divisible by 3"):
        BlockDense(6, 8, 3)


@pytest.mark.parametrize("kind", [RMSNorm, LayerNorm])
def test_the_norm_keeps_its_precision_under_autocast(kind):
    norm = kind(512)
    x = (100 + torch.randn(4, 512)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = norm(x)
    assert y.dtype == torch.bfloat16
    exact = norm.double()(x.double())
    torch.testing.assert_close(y.double(), exact, rtol=2**-8, atol=0)


def test_the_layer_norm_by_hand():
    norm = LayerNorm(2).double()
    with torch.no_grad():
        norm.scale.copy_(torch.tensor([2.0, 1.0]))
        norm.offset.copy_(torch.tensor([0.0, 5.0]))
    # Mean 2, variance 1, and a thousandth is added to that.
    wanted = torch.tensor([-2 / 1.001**0.5, 5 + 1 / 1.001**0.5], dtype=torch.float64)
    torch.testing.assert_close(norm(torch.tensor([1.0, 3.0], dtype=torch.float64)), wanted)


@pytest.mark.parametrize(
    ("style", "layers", "parameters"),
    [
        (MODERN, ["RMSNorm", "SiLU"], 6 * 5 + 5 + 5),
        (RELU, ["ReLU"], 6 * 5 + 5),
        (ELU, ["ELU"], 6 * 5 + 5),
        (NORMED_ELU, ["LayerNorm", "ELU"], 6 * 5 + 2 * 5),
    ],
)
def test_a_layer_has_what_its_style_says(style, layers, parameters):
    layer = Dense(6, 5, norm=True, act=True, style=style)
    assert [type(part).__name__ for part in layer.tail] == layers
    assert sum(p.numel() for p in layer.parameters()) == parameters
    plain = Dense(6, 5, norm=False, act=False, style=style)
    assert (len(plain.tail), plain.bias.shape) == (0, (5,))


def test_a_lean_layer_by_hand():
    layer = Dense(1, 2, norm=True, act=True, style=NORMED_ELU).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0], [3.0]]))
    low, high = -1 / 1.001**0.5, 1 / 1.001**0.5
    wanted = torch.tensor([torch.e**low - 1, high], dtype=torch.float64)
    torch.testing.assert_close(layer(torch.ones(1, dtype=torch.float64)), wanted)


def test_glorot_is_uniform_within_a_limit_of_both_fans():
    torch.manual_seed(0)
    conv, grow = nn.Conv2d(32, 64, 5), nn.ConvTranspose2d(64, 32, 5)
    weights = {
        "dense": (Dense(200, 400, norm=True, act=True, style=ELU).weight, 0.1),
        "tenth": (Dense(200, 400, norm=False, act=False, outscale=0.1, style=ELU).weight, 0.1**1.5),
        "conv": (init_conv_(conv, style=RELU).weight, 0.05),
        "transposed": (init_conv_(grow, style=RELU).weight, 0.05),
    }
    for weight, limit in weights.values():
        assert 0.99 * limit < weight.abs().max() <= limit
        assert weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
    assert not grow.bias.any()
    assert not Dense(5, 3, norm=False, act=False, outscale=0.0, style=ELU).weight.any()


def _net(style):
    torch.manual_seed(0)
    head = Dense(32, 3, norm=False, act=False, style=style)
    blocks = BlockDense(16, 32, 8, norm=True, act=True)
    return nn.Sequential(MLP(6, 16, 2, style), blocks, head).eval()


styles = pytest.mark.parametrize("style", [MODERN, RELU, ELU, NORMED_ELU])


@styles
def test_autocast_runs_the_products_in_bfloat16(style):
    net, x = _net(style), torch.randn(2, 5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), net(x), rtol=0.05, atol=0.05)
    y.float().sum().backward()
    assert all(p.grad.isfinite().all() and p.dtype == torch.float32 for p in net.parameters())


@styles
def test_layers_are_captured_whole(style):
    net = _net(style)
    graph = torch.export.export(net, (torch.randn(2, 5, 6),)).module()
    x = torch.randn(2, 5, 6)
    torch.testing.assert_close(graph(x), net(x))
