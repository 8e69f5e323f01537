"""The planner as a robot's policy, on exported graphs and on torch's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.agent import Acting
from robot_client.act import Act, CannotAct
from robot_client.actor_policy import ActorPolicy
from robot_client.bundle import Manifest, read_safetensors
from robot_client.clock import ManualClock, SystemClock
from robot_client.errors import BundleError
from robot_client.messages import PolicyReport
from robot_client.planner_policy import PlannerPolicy
from robot_client.policy import OnnxGraphs
from robot_client.policy_cache import PolicyCache
from robot_client.ports import Arrays, Carry, Policy, surprise
from robot_client.schema import ActionSpace, Source
from server.publisher import Publisher
from server.torch_policy import TorchGraphs, live_manifest
from tests.unit.control import Arm, start
from tests.unit.planning_agent import OBSERVED, acting
from tests.unit.policies import ACTIONS

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own

BOX = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32))
CHOICES = spaces.Discrete(3)
SMALL = {"horizon": 4, "candidates": 30, "iterations": 3, "elites": 6, "warm_start": True}
METHODS = ("shooting", "cem", "mppi", "icem")


class Live:
    """A model that is not exported."""

    def __init__(self, space: ActionSpace, drop: tuple[str, ...] = ()) -> None:
        self.space = space
        torch.manual_seed(0)
        model = acting(space, **SMALL)
        graphs = {k: g for k, g in model.graphs.items() if k not in drop}
        planning = model.planning if "imagine" in graphs else None
        self.acting = Acting(model.signature, graphs, planning)
        self.manifest = live_manifest(self.acting, "e1", "small")


class Published(Live):
    """A model and its bundle."""

    def __init__(self, folder: Path, space: ActionSpace, drop: tuple[str, ...] = ()) -> None:
        super().__init__(space, drop)
        clock = SystemClock()
        publisher = Publisher(folder, "e1", "small", self.acting, OBSERVED, space, clock)
        self.manifest = publisher.publish(0)
        self.blobs = {b.name: b.read_bytes() for b in (folder / "blobs").iterdir()}

    def graphs(self, names: tuple[str, ...]) -> OnnxGraphs:
        read = {name: self.blobs[self.manifest.graphs[name]] for name in names}
        return OnnxGraphs(self.manifest, read, read_safetensors(self.blobs[self.manifest.weights]))

    def deliver(self, cache: PolicyCache) -> None:
        for digest, _ in cache.offered(self.manifest):
            cache.received(digest, self.blobs[digest])
        cache.complete(self.manifest)
        cache.build_newest()


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("box"), BOX)


@pytest.fixture(scope="module")
def choices(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("choices"), CHOICES)


@pytest.fixture(scope="module")
def actor(tmp_path_factory: pytest.TempPathFactory) -> Published:
    drop = ("filter", "imagine", "propose", "value")
    return Published(tmp_path_factory.mktemp("actor"), BOX, drop)


def steps(
    policy: Policy, count: int = 4, explore: bool = True, seed: int = 0
) -> Iterator[tuple[np.ndarray, Carry, Arrays]]:
    rng, seen = np.random.default_rng(seed), np.random.default_rng(1)
    carry = policy.init()
    for step in range(count):
        obs = {"vector": seen.normal(size=3).astype(np.float32)}
        action, carry, extras = policy.step(carry, obs, step == 0, rng, explore)
        yield action, carry, extras


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("which", ["box", "choices"])
def test_onnx_and_torch_plan_equal_actions(
    method: str, which: str, request: pytest.FixtureRequest
) -> None:
    bundle: Published = request.getfixturevalue(which)
    act = Act("planner", {"method": method, "proposals": 4})
    live = live_manifest(bundle.acting, "e1", "small")
    torch_graphs = TorchGraphs(bundle.acting, torch.device("cpu"))
    robots = act.policy(bundle.manifest, bundle.graphs(act.graphs(bundle.manifest)), bundle.space)
    locksteps = act.policy(live, torch_graphs, bundle.space)
    for ours, theirs in zip(steps(robots), steps(locksteps), strict=True):
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(ours[2]["h"], theirs[2]["h"], rtol=1e-2, atol=1e-3)
        assert ours[0].dtype == bundle.space.dtype
        assert bundle.space.contains(ours[0] if ours[0].ndim else ours[0][()])
        assert ours[1].state["plan/iterations"] == 3
    assert robots.source is locksteps.source is Source.PLANNER


def plan(bundle: Live, **settings: Any) -> PlannerPolicy:
    found = Act("planner", settings).policy(
        bundle.manifest, TorchGraphs(bundle.acting, torch.device("cpu")), bundle.space
    )
    assert isinstance(found, PlannerPolicy)
    return found


def test_exploration_only_adds_noise_to_the_action(box: Published) -> None:
    policy = plan(box, explore=0.1)
    ((quiet, calm, _),) = steps(policy, 1, explore=False)
    ((noisy, loud, _),) = steps(policy, 1, explore=True)
    np.testing.assert_array_equal(calm.state["plan/plan"], loud.state["plan/plan"])
    assert not np.array_equal(quiet, noisy)
    ((still, _, _),) = steps(plan(box, explore=0.0), 1, explore=True)
    np.testing.assert_array_equal(still, quiet)


def test_a_share_of_choices_is_random(choices: Published) -> None:
    found = [next(steps(plan(choices, explore=1.0), 1, seed=s))[0] for s in range(40)]
    assert {int(a) for a in found} == {0, 1, 2}


def test_a_new_episode_forgets_the_plan(box: Published) -> None:
    policy, obs = plan(box), {"vector": np.ones(3, np.float32)}
    *_, (_, used, _) = steps(policy)
    fresh = policy.init().executed(used.prev_action)
    for carry in (used, fresh):
        found = policy.step(carry, obs, True, np.random.default_rng(5), False)[0]
        again = policy.step(fresh, obs, True, np.random.default_rng(5), False)[0]
        np.testing.assert_array_equal(found, again)
    going_on = policy.step(used, obs, False, np.random.default_rng(5), False)[0]
    assert not np.array_equal(going_on, again)


def test_interleaved_robots_plan_as_they_would_alone(box: Published) -> None:
    policy = plan(box)
    alone = [[a for a, _, _ in steps(policy, seed=s)] for s in (0, 1)]
    together = zip(steps(policy, seed=0), steps(policy, seed=1), strict=True)
    for step, (first, second) in enumerate(together):
        np.testing.assert_array_equal(first[0], alone[0][step])
        np.testing.assert_array_equal(second[0], alone[1][step])


def test_a_budget_of_nothing_still_acts(box: Published) -> None:
    policy = Act("planner", budget_s=0.0, clock=ManualClock()).policy(
        box.manifest, TorchGraphs(box.acting, torch.device("cpu")), BOX
    )
    for action, carry, _ in steps(policy, explore=False):
        np.testing.assert_allclose(action, [0, 0.5])
        assert carry.state["plan/candidates"] == 0


class Spoilt(TorchGraphs):
    """One graph has diverged."""

    def __init__(self, bundle: Live, graph: str, output: str) -> None:
        super().__init__(bundle.acting, torch.device("cpu"))
        self.spoilt = graph, output

    def run(self, name: str, feed: Arrays) -> dict[str, Any]:
        out = super().run(name, feed)
        graph, output = self.spoilt
        if name == graph:
            out[output] = np.full_like(out[output], np.nan)
        return out


@pytest.mark.parametrize(
    ("graph", "output", "why"),
    [
        ("filter", "out_carry_h", "state is not finite: h"),
        ("imagine", "out_reward", "no future that is finite"),
    ],
)
def test_a_model_that_diverged_does_not_choose_an_action(graph: str, output: str, why: str) -> None:
    live = Live(BOX)
    policy = Act("planner").policy(live.manifest, Spoilt(live, graph, output), BOX)
    with pytest.raises(BundleError, match=why):
        list(steps(policy, explore=False))


def test_graphs_share_the_weights_that_they_have_in_common(box: Published) -> None:
    graphs = box.graphs(tuple(box.manifest.graphs))
    assert set(graphs._weights) == {f"actor.{k}" for k in box.acting.graphs["policy"].state_dict()}


def test_a_weight_that_no_graph_has_is_refused(box: Published) -> None:
    tensors = read_safetensors(box.blobs[box.manifest.weights])
    tensors["more"] = np.zeros(1, np.float32)
    read = {name: box.blobs[digest] for name, digest in box.manifest.graphs.items()}
    with pytest.raises(BundleError, match="more is no initialiser"):
        OnnxGraphs(box.manifest, read, tensors)


@pytest.mark.parametrize("name", ["filter", "imagine", "propose", "value"])
def test_every_graph_is_checked_by_its_probe(box: Published, name: str) -> None:
    tensors = read_safetensors(box.blobs[box.manifest.weights])
    key = next(k for k in sorted(tensors) if k.startswith(f"probe/{name}/out_"))
    tensors[key] = tensors[key] + 1
    read = {name: box.blobs[box.manifest.graphs[name]]}
    with pytest.raises(BundleError, match=f"of {name} is"):
        OnnxGraphs(box.manifest, read, tensors)


def test_only_graphs_that_are_used_are_loaded(box: Published) -> None:
    assert Act().graphs(box.manifest) == ("policy",)
    assert Act("planner").graphs(box.manifest) == ("filter", "imagine", "value")
    proposing = Act("planner", {"proposals": 2}).graphs(box.manifest)
    assert proposing == ("filter", "imagine", "propose", "value")


def test_the_cache_builds_either_kind(box: Published, tmp_path: Path) -> None:
    for kind, wanted in (("actor", ActorPolicy), ("planner", PlannerPolicy)):
        cache = PolicyCache(tmp_path, OBSERVED, BOX, Act(kind))  # type: ignore[arg-type]
        box.deliver(cache)
        assert isinstance(cache.take(), wanted)
        assert not cache.reports()


def test_a_bundle_that_cannot_plan_is_reported_and_stays_for_another_run(
    actor: Published, tmp_path: Path
) -> None:
    cache = PolicyCache(tmp_path, OBSERVED, BOX, Act("planner"))
    actor.deliver(cache)
    assert cache.take() is None
    (report,) = cache.reports()
    assert "cannot act as planner: it has the graphs ['policy']" in report.error
    cache.build_newest()
    assert not cache.reports(), "once is enough"
    later = PolicyCache(tmp_path, OBSERVED, BOX)
    later.build_newest()
    assert isinstance(later.take(), ActorPolicy)


@pytest.mark.parametrize(
    ("change", "why"), [({"horizont": 3}, "horizont"), ({"horizon": 0}, "horizon")]
)
def test_a_wrong_plan_setting_is_named(box: Published, change: Any, why: str) -> None:
    with pytest.raises(CannotAct, match=why):
        Act("planner", change).graphs(box.manifest)


def test_a_robot_plans_and_says_so_in_every_row() -> None:
    policy = plan(Live(ACTIONS))
    runtime, recorder, server = start(Arm(steps=6), policy)
    assert runtime.run().steps == 6
    assert recorder.column("source")[:6] == [Source.PLANNER] * 6
    assert all(row["policy/h"].any() for row in recorder.rows[:6])
    assert [r.error for r in server.of(PolicyReport)] == [""]


def test_a_published_planner_survives_the_way(box: Published) -> None:
    assert Manifest.from_json(json.loads(json.dumps(box.manifest.to_json()))) == box.manifest


@pytest.mark.parametrize(("found", "said"), [(0.5, 0.5), (np.nan, -1.0), (np.inf, -1.0)])
def test_a_surprise_that_is_no_number_does_not_stop_the_heartbeat(
    found: float, said: float
) -> None:
    assert surprise({"surprise": np.float32(found)}) == said
    assert surprise({}) == -1.0
