"""Dreams, populations and phases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from pydantic import ValidationError

from agents.agent import Tensors
from agents.blocks.actions import ActionCodec
from agents.blocks.adam import FusedAdam
from agents.blocks.evolution import Evolution
from agents.dream.controller import Controller
from agents.dream.dreaming import dream
from agents.dream.learning import Warmth, counted, memory_loss
from agents.dream.mdn_rnn import MDNRNN
from agents.dream.population import MEAN, RANDOM, Contest, Population
from agents.errors import UnsupportedSpace
from agents.export import example_inputs
from agents.testing import random_batch
from agents.world_models import WorldModels, WorldModelsConfig
from robot_client.schema import ACTION, IS_FIRST, IS_LAST, IS_TERMINAL, REWARD

SEEN = spaces.Dict(camera=spaces.Box(0, 255, (16, 16, 1), np.uint8))
TWO = spaces.Discrete(2)
BOX = spaces.Box(-1, 1, (1,), np.float32)
TINY: dict[str, Any] = {
    "batch_size": 2,
    "batch_length": 6,
    "burn_in": 2,
    "latent": 3,
    "units": 4,
    "components": 2,
    "collect_episodes": 0,
    "collection": "held",
    "vision_updates": 0,
    "memory_updates": 0,
    "population": 4,
    "episodes": 2,
    "dream_steps": 5,
}


def counting_model(reward: float, done_from: float) -> MDNRNN:
    """Whose cell counts the steps; the end is likelier than not once h exceeds a threshold."""
    model = MDNRNN(1, 1, units=1, components=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        # Gates: input 1/2, forget open, output open, and a cell that takes in tanh(1) each step.
        model.lstm.bias.copy_(torch.tensor([0.0, 50.0, 1.0, 50.0]))
        model.reward.bias.fill_(reward)
        model.done.weight.fill_(1.0)
        model.done.bias.fill_(-done_from)
    return model


def h_after(steps: int) -> float:
    """The output of the model above."""
    return float(np.tanh(0.5 * np.tanh(1.0) * steps))


@pytest.mark.parametrize("last", [1, 3, 4])
def test_a_dream_ends_with_the_step_that_is_likely_its_last(last: int) -> None:
    between = (h_after(last - 1) + h_after(last)) / 2
    model = counting_model(2.0, between)
    controller = Controller(1, 1, 1, "z", 0)
    vectors, starts = torch.zeros(2, 2), torch.zeros(3, 1)
    generator = torch.Generator().manual_seed(0)
    found = dream(model, controller, ActionCodec(BOX), vectors, starts, 4, 1.0, generator)
    assert found.steps.tolist() == [last] * 6
    assert found.returns.tolist() == [2.0 * last] * 6  # the last step's reward counts
    never = counting_model(2.0, 2.0)
    found = dream(never, controller, ActionCodec(BOX), vectors, starts, 4, 1.0, generator)
    assert found.steps.tolist() == [4] * 6


def test_all_controllers_meet_the_same_chance() -> None:
    torch.manual_seed(0)
    model, controller = MDNRNN(2, 2, 4, 3), Controller(2, 4, 2, "zh", 0)
    one = torch.randn(1, controller.parameters)
    vectors, starts = torch.cat([one, -one, one]), torch.randn(2, 2)
    generator = torch.Generator().manual_seed(0)
    found = dream(model, controller, ActionCodec(TWO), vectors, starts, 6, 1.3, generator)
    senses = found.senses.reshape(3, 2, *found.senses.shape[1:])
    torch.testing.assert_close(senses[0], senses[2])
    assert not torch.allclose(senses[0], senses[1])
    assert not torch.allclose(senses[0, 0], senses[0, 1])


def test_rows_count_that_m_can_know_and_foretell() -> None:
    first = torch.tensor([[0, 0, 0, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]], dtype=torch.bool)
    last = torch.zeros_like(first)
    last[0, 4] = True
    found = counted(first, last, 2)
    # Cold rows, the row before another episode; all of an episode from its start.
    assert found.int().tolist() == [[0, 0, 1, 1, 0, 1, 1], [1] * 7]


def test_what_m_costs_by_hand() -> None:
    model = counting_model(
        2.0, 0.0
    )  # says the mean 0, deviation 1, reward 2 deviations, and logits h
    batch: Tensors = {
        ACTION: torch.zeros(1, 3, 1),
        REWARD: torch.tensor([[0.0, -200.0, 400.0]]),  # mean 100, deviation 300
        IS_FIRST: torch.tensor([[True, False, False]]),
        IS_LAST: torch.tensor([[False, False, True]]),
        IS_TERMINAL: torch.tensor([[False, False, True]]),
    }
    senses = torch.tensor([[[9.0], [1.0], [3.0]]])
    losses = memory_loss(model, ActionCodec(BOX), batch, senses, Warmth(0, 10.0))
    assert losses["senses"].item() == pytest.approx(0.5 * np.log(2 * np.pi) + (1 + 9) / 4)
    assert losses["reward"].item() == pytest.approx((3**2 + 1**2) / 4)
    assert model.foretell(torch.zeros(1, 1)).reward.item() == pytest.approx(100 + 2 * 300)
    no, yes = (np.log(1 + np.exp(h_after(1))), np.log(1 + np.exp(-h_after(2))))
    assert losses["done"].item() == pytest.approx((no + 10 * yes) / 2, rel=1e-5)


@pytest.mark.parametrize("scale", [0.01, 1.0, 1000.0])
def test_m_foretells_rewards_of_any_size(scale: float) -> None:
    torch.manual_seed(0)
    model = MDNRNN(1, 1, units=8, components=1)
    optimizer = FusedAdam(model.parameters(), 1e-2)
    senses = torch.randn(8, 12, 1)
    earned = scale * (3 + senses[..., 0].roll(1, 1))  # by what was sensed before
    first = torch.zeros(8, 12, dtype=torch.bool)
    first[:, 0] = True
    batch: Tensors = {ACTION: torch.zeros(8, 12, 1), REWARD: earned, IS_FIRST: first}
    batch |= {IS_LAST: torch.zeros_like(first), IS_TERMINAL: torch.zeros_like(first)}
    for _ in range(400):
        losses = memory_loss(model, ActionCodec(BOX), batch, senses, Warmth(0, 1.0))
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        optimizer.step()
    outputs = model.lstm.unroll(torch.cat([senses, batch[ACTION]], -1), first)
    away = model.foretell(outputs[:, :-1]).reward - earned[:, 1:]
    assert away.square().mean().sqrt().item() < 0.4 * scale


def contest(episodes: int = 2) -> Contest:
    return Contest(Evolution(np.zeros(3), 0.5, 4), Population(4, 3), episodes)


def name(of: Contest, *places: int) -> list[float]:
    """Names of candidates, the first being 1."""
    return [float(of.population.before) + place for place in places]


def test_robots_draw_those_that_lack_episodes() -> None:
    found = contest()
    population, candidates = found.population, found.evolution.candidates
    population.collecting.fill_(0)
    uniform = torch.tensor([0.0, 0.01, 0.3, 0.6, 0.99])
    vectors, names = population.draw(uniform)
    assert names.tolist() == [MEAN, *name(found, 1, 2, 3, 4)]
    np.testing.assert_allclose(vectors[1:].numpy(), candidates, rtol=1e-6)
    assert vectors[0].tolist() == [0, 0, 0]
    found.credit(name(found, 1, 1, 2, 4, 4), [1.0, 2.0, 3.0, 4.0, 5.0])
    assert population.draw(uniform)[1].tolist() == [MEAN, *name(found, 2, 2, 3, 3)]
    population.collecting.fill_(1)
    assert population.draw(uniform)[1].tolist() == [MEAN] + [RANDOM] * 4


def test_a_generation_is_told_when_all_have_been_judged_and_late_returns_are_not() -> None:
    found = contest()
    late = name(found, 1, 2)
    found.credit(name(found, 1, 2, 3, 4, 1, 2, 3), [4.0, 3.0, 2.0, 1.0, 6.0, 5.0, 4.0])
    assert found.evolution.generation == 0
    found.credit([*name(found, 4, 77), MEAN, RANDOM], [1.0, 99.0, 99.0, 99.0])
    assert found.evolution.generation == 1
    assert found.told.tolist() == [(5 + 4 + 3 + 1) / 4, 5.0]
    found.population.collecting.fill_(0)
    assert found.population.draw(torch.tensor([0.01]))[1].tolist() == name(found, 1)
    before = found.state_dict()["sums"]
    found.credit(late, [9.0, 9.0])
    assert found.state_dict()["sums"].equal(before)


def test_other_vectors_have_other_names() -> None:
    """As after a checkpoint, when a generation of the same number came out differently."""
    one, same, other = contest(), contest(), contest()
    for found, first in ((one, 1.0), (same, 1.0), (other, 9.0)):
        found.credit(name(found, 1, 2, 3, 4) * 2, [first, 2.0, 3.0, 4.0] * 2)
    assert one.evolution.generation == other.evolution.generation == 1
    assert name(one, 1) == name(same, 1) != name(other, 1)
    names = torch.tensor(name(one, 1, 2, 3, 4), dtype=torch.float32)
    assert names.diff().tolist() == [1.0, 1.0, 1.0]


def test_a_contest_goes_on_from_its_state() -> None:
    old, new = contest(), contest()
    for turn in range(3):
        old.credit(name(old, 1, 2, 3, 4) * 2, [float(i * turn) for i in range(8)])
    old.credit(name(old, 1, 2), [1.0, 2.0])
    new.load_state_dict({key: tensor.clone() for key, tensor in old.state_dict().items()})
    buffers = zip(old.population.state_dict().values(), new.population.buffers(), strict=True)
    assert all(a.equal(b) for a, b in buffers)
    for one in (old, new):
        one.credit(name(one, 1, 2, 3, 4, 3, 4), [1.0, 1.0, 3.0, 4.0, 5.0, 6.0])
    assert old.evolution.generation == new.evolution.generation == 4
    assert np.array_equal(old.evolution.candidates, new.evolution.candidates)


def agent(action: Any = TWO, **config: Any) -> WorldModels:
    torch.manual_seed(0)
    full = WorldModelsConfig.model_validate({**TINY, **config})
    return WorldModels(SEEN, action, full, torch.device("cpu"))


def batch_of(of: WorldModels, seed: int = 0) -> Tensors:
    found = random_batch(of, SEEN, TWO, torch.Generator().manual_seed(seed))
    found["trial/candidate"].fill_(RANDOM)
    return found


def test_it_reports_what_the_dashboard_has_words_for() -> None:
    found = agent(collect_episodes=0)
    found.train(batch_of(found))
    pictures = found.report(batch_of(found, 1))
    assert set(pictures) == {"seen", "dreamt"}
    heights = {name: film.shape[1] for name, film in pictures.items()}
    assert heights == {"seen": 2 * 16, "dreamt": 16}  # truth above what V makes of it; M alone


def test_the_phases_follow_each_other_and_each_moves_its_own_part() -> None:
    phased = {"collect_episodes": 100, "vision_updates": 2, "memory_updates": 2}
    found = agent(evolve="dream", **phased)
    parts = {"vae": found.vae, "model": found.model, "population": found.population}
    moved: list[tuple[str, set[str]]] = []
    for seed in range(8):
        phase = found.phase
        before = {n: [t.clone() for t in p.state_dict().values()] for n, p in parts.items()}
        found.train(batch_of(found, seed))
        after = {n: list(p.state_dict().values()) for n, p in parts.items()}
        changed = {n for n in parts if not all(map(torch.equal, before[n], after[n]))}
        moved.append((phase, changed))
    assert [phase for phase, _ in moved] == [
        *("collect", "collect", "vision", "vision", "memory", "memory", "control", "control")
    ]
    expected: list[set[str]] = [set(), set(), {"vae"}, {"vae"}, {"model"}]
    # With its last update the memory lets the robots know that collecting is over.
    expected += [{"model", "population"}, {"population"}, {"population"}]
    assert [changed for _, changed in moved] == expected


def test_an_episode_keeps_its_candidate_whatever_comes_meanwhile() -> None:
    found = agent(evolve="robots")
    found.train(batch_of(found))
    policy = found.acting().graphs["policy"]
    inputs = example_inputs(found.acting(), "policy", SEEN, TWO, torch.Generator())
    inputs["in_is_first"][:] = True
    inputs["in_noise_who"][:] = 0.3
    began = policy(inputs)
    (second,) = name(found.contest, 2)
    assert began["out_extra_candidate"].item() == second
    vector = found.population.vectors[2:3].clone()
    assert began["out_carry_vector"].equal(vector)
    found.contest.tell(np.arange(4.0))
    inputs |= {key.replace("out_", "in_"): t for key, t in began.items() if "carry" in key}
    inputs["in_is_first"][:] = False
    goes_on = policy(inputs)
    assert goes_on["out_extra_candidate"].item() == second
    assert goes_on["out_carry_vector"].equal(vector)
    assert not found.population.vectors[2:3].equal(vector)


def test_an_evaluation_is_of_the_mean() -> None:
    for collection in ("held", "controllers"):
        found = agent(BOX, collection=collection, collect_episodes=9)
        policy = found.acting().graphs["policy"]
        inputs = example_inputs(found.acting(), "policy", SEEN, BOX, torch.Generator())
        inputs |= {k: torch.zeros_like(inputs[k]) for k in ("in_noise_who", "in_noise_wild")}
        inputs["in_is_first"][:] = True
        out = policy(inputs)
        assert out["out_extra_candidate"].item() == MEAN
        assert out["out_action"].item() == 0.0  # the first mean is zeros


def test_random_actions_are_held() -> None:
    found = agent(BOX, collect_episodes=9, hold=5)
    policy = found.acting().graphs["policy"]
    generator, actions = torch.Generator().manual_seed(1), []
    carry: Tensors = {}
    for t in range(200):
        inputs = example_inputs(found.acting(), "policy", SEEN, BOX, generator)
        inputs["in_is_first"][:] = t == 0
        out = policy(inputs | carry)
        carry = {key.replace("out_", "in_"): x for key, x in out.items() if "carry" in key}
        actions.append(out["out_action"].item())
    changes = np.flatnonzero(np.diff(actions)) + 1
    lengths = np.diff([0, *changes])
    assert set(lengths) == {1, 2, 3, 4, 5}


def test_the_memory_takes_in_what_was_really_done() -> None:
    found = agent(BOX)
    policy = found.acting().graphs["policy"]
    inputs = example_inputs(found.acting(), "policy", SEEN, BOX, torch.Generator())
    other = inputs | {"in_prev_action": inputs["in_prev_action"] + 1}
    assert not policy(inputs)["out_carry_h"].equal(policy(other)["out_carry_h"])


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"evolve": "dream"}, "memory_updates: expected some"),
        ({"burn_in": 6}, "burn_in: expected at most 5"),
        ({"keys": "("}, "not a regular expression"),
    ],
)
def test_what_does_not_go_together_is_refused(config: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        agent(**config)


@pytest.mark.parametrize(
    ("action", "config", "got"),
    [
        (spaces.Discrete(513), {}, "4104 for 513"),  # 3 of z, 4 of h, and 1, for each
        (spaces.Box(-1, 1, (16,), np.float32), {"units": 256}, "4160 for 16"),
        (TWO, {"units": 3000}, "6008 for 2"),
        (TWO, {"hidden": 500}, "5002 for 2"),
    ],
)
def test_a_controller_too_large_to_be_evolved_is_refused(
    action: Any, config: dict[str, Any], got: str
) -> None:
    with pytest.raises(UnsupportedSpace, match=f"fewer units.*sees = z.*got {got}") as error:
        agent(action, **config)
    assert error.value.field == "action_space"


def test_what_the_refusal_of_a_large_controller_advises_helps() -> None:
    agent(spaces.Box(-1, 1, (16,), np.float32), units=256, sees="z")
