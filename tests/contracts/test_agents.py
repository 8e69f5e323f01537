"""Every registered agent keeps every promise of `agents.agent`, on every kind of space it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from gymnasium import spaces

from agents.agent import Acting, Agent, AgentConfig, Learned, Tensors
from agents.errors import UnsupportedSpace
from agents.export import ActingExport, example_inputs
from agents.registry import AGENTS, agent_class
from agents.testing import check_agent
from agents.world_models import WorldModels
from robot_client.bundle import read_safetensors
from robot_client.onnx_file import initializers
from robot_client.schema import ActionSpace

VECTOR = spaces.Dict({"vector": spaces.Box(-1, 1, (4,), np.float32)})
CAMERA = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (16, 16, 3), np.uint8),
        "depth": spaces.Box(0, 255, (16, 16, 1), np.uint8),
        "mode": spaces.Discrete(3),
        "vector": spaces.Box(-np.inf, np.inf, (2, 2), np.float32),
    }
)
BOX = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32))
DISCRETE = spaces.Discrete(3)
GOALS = spaces.Dict(
    {k: spaces.Box(-1, 1, (2,), np.float32) for k in ("achieved_goal", "desired_goal")}
    | VECTOR.spaces
)
SPACES = {
    "vector-box": (VECTOR, BOX),
    "vector-discrete": (VECTOR, DISCRETE),
    "fusion-box": (CAMERA, BOX),
    "fusion-discrete": (CAMERA, DISCRETE),
    "goals-box": (GOALS, BOX),
    "goals-discrete": (GOALS, DISCRETE),
}
CRITIC = {"batch_size": 4, "actor_widths": (16, 8), "critic_widths": (16, 8)}
DREAMER = {"size": "tiny", "batch_size": 2, "batch_length": 8, "horizon": 3}
MODEL = {"batch_size": 4, "widths": (8, 8), "members": 2}
SMALL: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("daydreamer", "dreamer"), DREAMER),
    # At first the divergence is below what is free, and nothing would teach the prior.
    **{name: {**DREAMER, "free_nats": 0.0} for name in ("dreamer-v1", "dreamer-v2")},
    "a3c": {"batch_size": 4, "widths": (16,), "cells": 8},
    "d4pg": {**CRITIC, "atoms": 11, "priority": 0.6},
    "ddpg": CRITIC,
    "distill": {"batch_size": 4, "widths": (16, 8)},
    "distral": {"batch_size": 4, "widths": (16, 8), "shared_widths": (8,), "tasks": 3},
    "i2a": {
        "keys": "camera|obs",
        "batch_size": 2,
        "n_step": 3,
        "depth": 2,
        "model_rows": 8,
        "fits": 2,
    }
    | {"channels": 4, "width": 8, "cells": 4, "model_channels": 4, "frames": 2},
    "dqn": {
        "batch_size": 4,
        "widths": (16, 8),
        "n_step": 3,
        "priority": 0.5,
        "atoms": 11,
        "double": True,
        "duelling": True,
        "noisy": True,
    },
    "dyna": {**MODEL, "updates": 2, "warmup": 1, "capacity": 6, "branch": 2},
    "dyna-q": {"bins": 3, "bonus": 0.01},
    "mpc": {**MODEL, "per_member": 2, "sampling": "ts1"},
    "mve": {**CRITIC, "horizon": 2, "members": 2, "model_widths": (8,), "warm_up": 1},
    "naf": {
        "batch_size": 4,
        "widths": (16, 8),
        "steps": 5,
        "refit_every": 2,
        "on_policy": 0.5,
        "ilqg": 0.5,
    },
    "her": {"batch_size": 4, "widths": (16, 8), "priority": 0.6, "n_step": 2},
    "planet": {
        "size": "tiny",
        "batch_size": 2,
        "batch_length": 8,
        "ensemble": 2,
        "free_nats": 0.0,
    },
    "random": {},
    "sac": {"batch_size": 4, "widths": (16, 8)},
    "tdm": {"batch_size": 4, "widths": (16, 8), "priority": 0.6},
    "world-models": {
        "batch_size": 2,
        "batch_length": 6,
        "burn_in": 2,
        "latent": 3,
        "units": 5,
        "components": 2,
        "collect_episodes": 0,  # three batches are told of no random episode, and go to V, M and C
        "collection": "held",
        "vision_updates": 1,
        "memory_updates": 1,
        "population": 4,
        "episodes": 2,
        "evolve": "dream",
        "dream_steps": 5,
    },
}
ONE_MODEL = {
    "daydreamer": ["vector-discrete"],
    "dreamer-v1": ["fusion-box"],
    "dreamer-v2": ["fusion-discrete"],
    "planet": ["vector-box"],
}
ALL = pytest.mark.parametrize("name", AGENTS)


def accepted(name: str) -> list[str]:
    """The kinds of spaces that an agent says it accepts; all but one of each kind are enough."""
    kinds = {"box": "continuous", "discrete": "discrete", "vector": "vectors", "fusion": "images"}
    kinds["goals"] = "goals"
    accepts = agent_class(name).accepts
    found = [kind for kind in SPACES if all(kinds[word] in accepts for word in kind.split("-"))]
    # Who learns goals needs them; to all others they are vectors like any.
    return [kind for kind in found if ("goals" in accepts) == kind.startswith("goals")]


def refused(name: str) -> list[str]:
    """The kinds of spaces that an agent must not take."""
    goals = "goals" in agent_class(name).accepts
    return [k for k in SPACES if k not in accepted(name) and (goals or not k.startswith("goals"))]


def exported(name: str) -> list[str]:
    """Of these, as many as show every kind of input and output; generations of one model by turns,
    since to export them takes long."""
    found = accepted(name)
    return ONE_MODEL.get(name, found if len(found) < 4 else ["vector-discrete", "fusion-box"])


def build(name: str, kind: str, small: dict[str, Any] | None = None) -> Agent:
    cls = agent_class(name)
    config: AgentConfig = cls.config_type.model_validate(small or SMALL[name])
    torch.manual_seed(0)
    return cls(*SPACES[kind], config, torch.device("cpu"))


def test_every_agent_has_a_small_configuration() -> None:
    assert SMALL.keys() == AGENTS.keys()


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in AGENTS for k in accepted(n)])
def test_contract(name: str, kind: str) -> None:
    check_agent(lambda: build(name, kind), *SPACES[kind])


def test_an_agent_that_learns_nothing_is_found_out() -> None:
    waits = {**SMALL["world-models"], "collect_episodes": 1}
    with pytest.raises(AssertionError, match="nothing was learned by"):
        check_agent(lambda: build("world-models", "fusion-box", waits), *SPACES["fusion-box"])


def test_an_agent_that_acts_by_what_does_not_travel_is_found_out() -> None:
    def make() -> Agent:
        agent = build("sac", "vector-box")
        acting = agent.acting()
        graph = acting.graphs["policy"]
        forward, learn, learned = graph.forward, agent.train, []

        def train(batch: Tensors) -> Learned:
            learned.append(batch)
            return learn(batch)

        def weaker(inputs: Tensors) -> Tensors:
            outputs = forward(inputs)
            return outputs | {"out_action": outputs["out_action"] * 0.5 ** len(learned)}

        agent.train, graph.forward = train, weaker  # type: ignore[method-assign]
        agent.acting = lambda: acting  # type: ignore[method-assign]
        return agent

    with pytest.raises(AssertionError, match="policy acts by something learned that does not trav"):
        check_agent(make, *SPACES["vector-box"])


def test_world_models_is_tried_in_all_its_phases() -> None:
    made: list[Agent] = []

    def make() -> Agent:
        made.append(build("world-models", "fusion-box"))
        return made[-1]

    check_agent(make, *SPACES["fusion-box"])
    generations = [a.contest.evolution.generation for a in made if isinstance(a, WorldModels)]
    assert max(generations) > 1, generations  # one from the batches, another after the resumption


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in AGENTS for k in refused(n)])
def test_what_an_agent_does_not_accept_it_refuses(name: str, kind: str) -> None:
    with pytest.raises(UnsupportedSpace, match="expected"):
        build(name, kind)


CHOOSERS = [(n, k) for n in AGENTS for k in accepted(n) if k.endswith("discrete")]
PLANNERS = {"mpc", "planet"}  # no policy to tell of
SILENT = {"random", "world-models"}  # no preference; scores that are neither values nor chances


@pytest.mark.parametrize(("name", "kind"), [c for c in CHOOSERS if c[0] not in PLANNERS])
def test_who_chooses_says_what_it_thinks_of_all_choices(name: str, kind: str) -> None:
    """So that a student learns more from it than its choice."""
    acting = build(name, kind).acting()
    inputs = example_inputs(acting, "policy", *SPACES[kind], torch.Generator().manual_seed(0))
    quiet = {k: torch.zeros_like(v) if "noise" in k else v for k, v in inputs.items()}
    outputs = acting.graphs["policy"](quiet)
    said = [tensor for key, tensor in outputs.items() if key in ("out_q", "out_logits")]
    assert len(said) == (name not in SILENT)
    for scores in said:
        assert torch.equal(scores.argmax(-1), outputs["out_action"])


@ALL
def test_every_field_of_the_configuration_is_documented(name: str) -> None:
    for field, about in agent_class(name).config_type.model_fields.items():
        assert about.description, f"{name}.{field} has no description"


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in AGENTS for k in exported(n)])
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_exported_graphs_act_as_torch_does(name: str, kind: str) -> None:
    acting = build(name, kind).acting()
    export = ActingExport(acting, *SPACES[kind])
    perturb(acting)  # what the graphs were exported with must not matter
    acts_as_torch(acting, export, *SPACES[kind])


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_distral_keeps_its_promises_on_tables_too() -> None:
    cls = agent_class("distral")
    tables = cls.config_type.model_validate(cls.config_type.presets["table"] | {"batch_size": 4})

    def make() -> Agent:
        torch.manual_seed(0)
        return cls(VECTOR, DISCRETE, tables, torch.device("cpu"))

    check_agent(make, VECTOR, DISCRETE)
    acting = make().acting()
    export = ActingExport(acting, VECTOR, DISCRETE)
    perturb(acting)
    acts_as_torch(acting, export, VECTOR, DISCRETE)


def acts_as_torch(
    acting: Acting, export: ActingExport, seen: spaces.Dict, action: ActionSpace
) -> None:
    """Whatever goes in, the same comes out of both."""
    tensors = read_safetensors(export.weights())
    for part, graph in acting.graphs.items():
        session = _session(export.graphs[part], tensors)
        names = {i.name for i in session.get_inputs()}
        for seed in range(20):
            generator, rows = torch.Generator().manual_seed(seed), 1 + seed
            inputs = example_inputs(acting, part, seen, action, generator, rows)
            found = session.run(None, {k: t.numpy() for k, t in inputs.items() if k in names})
            with torch.no_grad():
                expected = graph(inputs)
            for output, array in zip(session.get_outputs(), found, strict=True):
                want, where = expected[output.name].numpy(), f"{part} {output.name}"
                # Two-hot predictions are differences of numbers as large as the largest.
                atol = 2e-5 * max(1, float(np.abs(want).max(initial=0)))
                np.testing.assert_allclose(array, want, rtol=2e-4, atol=atol, err_msg=where)


def perturb(acting: Acting) -> None:
    state = {k: t for g in acting.graphs.values() for k, t in g.state_dict().items()}
    before = {k: t.clone() for k, t in state.items()}
    with torch.no_grad():
        for tensor in state.values():
            scale = 0.05 * tensor.abs().clamp(min=1)  # so that large numbers change too
            tensor.add_(torch.randn(tensor.shape) * scale)
    assert not any(torch.equal(before[k], t) for k, t in state.items())


def _session(graph: bytes, tensors: dict[str, Any]) -> ort.InferenceSession:
    weights = {k: v for k, v in tensors.items() if k in initializers(graph)}
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    values = {k: ort.OrtValue.ortvalue_from_numpy(np.array(v)) for k, v in weights.items()}
    if values:
        options.add_external_initializers(list(values), list(values.values()))
    return ort.InferenceSession(graph, options)
