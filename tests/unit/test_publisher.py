from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

import agents
from agents import export
from agents.random import Random, RandomConfig
from robot_client.actor_policy import ActorPolicy
from robot_client.bundle import Manifest, read_safetensors, sha256
from robot_client.clock import Clock, ManualClock, SystemClock
from robot_client.policy import OnnxGraphs
from server import kept_graphs
from server.publisher import Publisher

OBSERVATION = spaces.Dict({"vector": spaces.Box(-1, 1, (2,), np.float32)})
ACTION = spaces.Box(np.array([-3, 0], np.float32), np.array([-1, 5], np.float32))

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own


def publisher(folder: Path, clock: Clock, recipe: str | None = None) -> Publisher:
    agent = Random(OBSERVATION, ACTION, RandomConfig(), torch.device("cpu"))
    acting = agent.acting()
    return Publisher(folder, "e1", "random", acting, OBSERVATION, ACTION, clock, recipe, keep=2)


def test_a_version_is_one_that_the_robot_runs(tmp_path: Path) -> None:
    made = publisher(tmp_path, SystemClock()).publish(updates=5)
    (path,) = (tmp_path / "policies").glob("*.json")
    manifest = Manifest.from_json(json.loads(path.read_bytes()))
    assert manifest == made
    assert (manifest.version, manifest.updates, manifest.agent) == (0, 5, "random")
    blobs = {d: (tmp_path / "blobs" / d).read_bytes() for d in manifest.sizes}
    assert all(sha256(b) == d and len(b) == manifest.sizes[d] for d, b in blobs.items())
    graphs = {"policy": blobs[manifest.graphs["policy"]]}
    tensors = read_safetensors(blobs[manifest.weights])
    policy = ActorPolicy(manifest, OnnxGraphs(manifest, graphs, tensors), ACTION)
    rng = np.random.default_rng(0)
    obs = {"vector": np.zeros(2, np.float32)}
    actions = np.array(
        [policy.step(policy.init(), obs, False, rng, explore=True)[0] for _ in range(200)]
    )
    assert ACTION.contains(actions.min(0))
    assert ACTION.contains(actions.max(0))
    assert (actions.std(0) > np.array([0.4, 1.2])).all()  # uniform: width / sqrt(12)


def test_versions_go_on_after_a_restart_and_old_ones_go(tmp_path: Path) -> None:
    now = ManualClock(SystemClock().wall())
    first = publisher(tmp_path, now)
    for updates in range(3):
        first.publish(updates)
    assert len([*(tmp_path / "policies").iterdir()]) == 3, "young ones stay: a robot may want them"
    now.advance(100)
    again = publisher(tmp_path, now)
    assert again.publish(9).version == 3
    assert sorted(p.stem for p in (tmp_path / "policies").glob("*.json")) == [
        "00000002",
        "00000003",
    ]


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by each graph that is exported."""
    made: list[str] = []
    real = export._exported

    def counted(graphs: Any, inputs: Any) -> export.Exported:
        made.extend(graphs)
        return real(graphs, inputs)

    monkeypatch.setattr(export, "_exported", counted)
    return made


def published(folder: Path, recipe: str | None) -> Manifest:
    return publisher(folder, SystemClock(), recipe).publish(0)


def test_the_next_learner_of_an_experiment_exports_nothing(
    tmp_path: Path, exports: list[str]
) -> None:
    first, second = published(tmp_path, "job"), published(tmp_path, "job")
    assert exports == ["policy"]
    assert second.graphs == first.graphs
    blobs = {d: (tmp_path / "blobs" / d).read_bytes() for d in second.sizes}
    graphs = {"policy": blobs[second.graphs["policy"]]}
    tensors = read_safetensors(blobs[second.weights])
    policy = ActorPolicy(second, OnnxGraphs(second, graphs, tensors), ACTION)
    obs = {"vector": np.zeros(2, np.float32)}
    action, _ = policy.step(policy.init(), obs, False, np.random.default_rng(0), explore=False)[:2]
    assert ACTION.contains(action)


def of_another_job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return "another job"


def by_another_torch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(kept_graphs, "version", lambda name: "0.1")
    return "job"


def by_other_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    other = folder / "agents" / "__init__.py"
    other.parent.mkdir()
    other.write_text("another = 1")
    monkeypatch.setattr(agents, "__file__", str(other))
    return "job"


def with_a_damaged_graph(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (kept,) = json.loads((folder / "graphs.json").read_bytes())["graphs"].values()
    graph = bytearray((folder / "blobs" / kept).read_bytes())
    graph[len(graph) // 2] ^= 255
    (folder / "blobs" / kept).write_bytes(graph)
    return "job"


def with_a_damaged_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (folder / "graphs.json").write_text("[")
    return "job"


@pytest.mark.parametrize(
    "change",
    [of_another_job, by_another_torch, by_other_code, with_a_damaged_graph, with_a_damaged_list],
)
def test_but_not_what_was_made_otherwise_or_is_damaged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exports: list[str],
    change: Callable[[Path, pytest.MonkeyPatch], str],
) -> None:
    published(tmp_path, "job")
    found = published(tmp_path, change(tmp_path, monkeypatch))
    assert exports == ["policy", "policy"]
    graph = found.graphs["policy"]
    assert sha256((tmp_path / "blobs" / graph).read_bytes()) == graph
