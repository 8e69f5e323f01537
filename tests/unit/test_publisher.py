from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.random import Random, RandomConfig
from robot_client.actor_policy import ActorPolicy
from robot_client.bundle import Manifest, read_safetensors, sha256
from robot_client.clock import Clock, ManualClock, SystemClock
from robot_client.policy import OnnxGraphs
from server.publisher import Publisher

OBSERVATION = spaces.Dict({"vector": spaces.Box(-1, 1, (2,), np.float32)})
ACTION = spaces.Box(np.array([-3, 0], np.float32), np.array([-1, 5], np.float32))

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own


def publisher(folder: Path, clock: Clock) -> Publisher:
    agent = Random(OBSERVATION, ACTION, RandomConfig(), torch.device("cpu"))
    acting = agent.acting()
    return Publisher(folder, "e1", "random", acting, OBSERVATION, ACTION, clock, keep=2)


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
