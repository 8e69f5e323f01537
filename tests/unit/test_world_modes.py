"""Compiled, captured, in half precision: the same update."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agents.agent import Tensors
from agents.blocks.views import frozen_view
from agents.errors import UnsupportedSpace
from agents.world.agent import Noise, WorldAgent
from robot_client.schema import REWARD
from tests.unit.worlds import ACTORS, BOX, DISCRETE, WORLDS, batch_of, make

SHORT: dict[str, Any] = {"batch_length": 3, "ensemble": 2}
WITH_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="captures need a GPU")


def short(name: str, **config: Any) -> WorldAgent:
    horizon = {"horizon": 2} if name in ACTORS else {}
    return make(name, **SHORT, **horizon, **config)


def state(agent: WorldAgent) -> Tensors:
    return {k: t.detach().clone() for k, t in agent.state_dict().items()}


def gradients(agent: WorldAgent) -> Tensors:
    modules = {"world": agent.world, "behaviour": agent.behaviour}
    named = [(f"{n}.{k}", p) for n, m in modules.items() if m for k, p in m.named_parameters()]
    return {name: p.grad for name, p in named if p.requires_grad}


@pytest.mark.filterwarnings("ignore")  # torch's own, while compiling
def test_traced_losses_and_gradients_through_the_dynamics_equal_eager() -> None:
    """The tracing is what may go wrong; code for it is made elsewhere, and takes minutes."""
    results = []
    for trace in (lambda f: f, lambda f: torch.compile(f, backend="aot_eager", dynamic=False)):
        agent = short("dreamer-v1")
        batch = batch_of(agent)
        noise = agent.draw(*batch[REWARD].shape)
        total, metrics, states = trace(agent.losses)(batch, noise)
        total.backward()
        results.append((total, metrics, states.deter, gradients(agent)))
    (eager, traced) = results
    for a, b in zip(eager[:3:2], traced[:3:2], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    for name, value in eager[1].items():
        torch.testing.assert_close(value, traced[1][name], rtol=1e-5, atol=1e-5, msg=name)
    for name, grad in eager[3].items():
        torch.testing.assert_close(grad, traced[3][name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("name", WORLDS)
def test_half_precision_is_near_and_reaches_every_parameter(name: str) -> None:
    """What autocast keeps of a layer used without gradient must not be used with one later."""
    exact, rough = (short(name, precision=p) for p in ("float32", "bfloat16"))
    batch = batch_of(exact)
    wanted, found = exact.train(batch).metrics, rough.train(batch).metrics
    for key, value in wanted.items():
        assert torch.isfinite(found[key]), key
        if key.startswith("loss/"):
            torch.testing.assert_close(found[key], value, rtol=0.1, atol=0.1, msg=key)
    rough_grads = gradients(rough)
    for key, grad in gradients(exact).items():
        assert rough_grads[key] is not None, key
        assert rough_grads[key].any() or not grad.any(), key
    assert {t.dtype for t in state(rough).values() if t.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("action", [BOX, DISCRETE], ids=["box", "discrete"])
def test_an_update_never_asks_the_device_and_never_leaves_it(name: str, action: Any) -> None:
    """On the device meta, which has no numbers, to wait for one is an error. A number that was
    left on the host would be told from the rest: metrics are stacked to be fetched at once."""
    agent = make(name, action, ensemble=2)
    batch = {k: t.to("meta") for k, t in batch_of(agent, action).items()}
    noise = Noise(*(t if t is None else t.to("meta") for t in agent.draw(2, 6)))
    agent.world.to("meta")
    agent._still = agent.world
    if agent.behaviour is not None:
        agent.behaviour.to("meta")
        agent._still = frozen_view(agent.world) if agent.behaviour.through else agent.world
    agent._optimizers = agent._recipe.optimizers(agent._parts())
    agent.draw = lambda *_: noise  # type: ignore[method-assign]
    for _ in range(2):
        learned = agent.train(batch)
        for key, value in (learned.metrics | learned.context).items():
            assert value.is_meta, key


@pytest.mark.parametrize("name", WORLDS)
def test_capturing_takes_a_gpu(name: str) -> None:
    with pytest.raises(UnsupportedSpace, match="a GPU"):
        make(name, captured=True)


@WITH_GPU
@pytest.mark.parametrize("name", WORLDS)
def test_captured_updates_equal_eager_ones(name: str) -> None:
    """Three updates before the capture, three after it: all count, and draw the same noise."""
    eager, captured = (short(name, device="cuda", captured=c) for c in (False, True))
    batches = [
        {k: t.cuda() for k, t in (batch_of(eager) | {REWARD: torch.full((2, 3), r)}).items()}
        for r in (0.0, 1.0, -1.0, 0.5, 2.0, -0.5)
    ]
    kept = []
    for batch in batches:
        wanted, found = eager.train(batch), captured.train(batch)
        kept.append((wanted, found))
    for wanted, found in kept:  # compared late: a replay must not overwrite what was handed out
        for a, b in ((wanted.metrics, found.metrics), (wanted.context, found.context)):
            assert a.keys() == b.keys()
            for key in a:
                torch.testing.assert_close(b[key], a[key], rtol=1e-4, atol=1e-4, msg=key)
    ours, theirs = state(captured), state(eager)
    assert torch.equal(ours.pop("generator"), theirs.pop("generator"))
    for key in theirs:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-4, atol=1e-5, msg=key)


@WITH_GPU
@pytest.mark.parametrize("name", WORLDS)
def test_a_captured_agent_goes_on_from_a_state_that_it_loads(name: str) -> None:
    """The graph reads where it was captured: loading must happen in place."""
    agent = short(name, device="cuda", captured=True)
    batch = {k: t.cuda() for k, t in batch_of(agent).items()}
    for _ in range(5):
        agent.train(batch)
    saved = state(agent)
    first = agent.train(batch).metrics
    agent.train(batch)
    agent.load_state_dict(saved)
    again = agent.train(batch).metrics
    for key in first:
        torch.testing.assert_close(again[key], first[key], rtol=1e-5, atol=1e-5, msg=key)
