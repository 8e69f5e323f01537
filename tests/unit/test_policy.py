from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from robot_client.actor_policy import ActorPolicy
from robot_client.bundle import NoiseSpec, Signature, TensorSpec
from robot_client.errors import BundleError
from robot_client.onnx_file import initializers
from robot_client.policy import OnnxGraphs
from robot_client.policy_cache import PolicyCache
from robot_client.ports import Carry, Policy
from robot_client.schema import Source
from tests.unit.policies import ACTIONS, OBSERVED, Bundle, bundle, graph, weights


def see(*values: float) -> dict[str, np.ndarray]:
    return {"vector": np.array(values, np.float32)}


def cache(directory: Path, keep: int = 3) -> PolicyCache:
    return PolicyCache(directory, OBSERVED, ACTIONS, keep=keep)


def deliver(to: PolicyCache, sent: Bundle) -> None:
    for digest, _ in to.offered(sent.manifest):
        to.received(digest, sent.blobs[digest])
    to.complete(sent.manifest)
    to.build_newest()


def act(policy: Policy) -> np.ndarray:
    return policy.step(policy.init(), see(1, 1, 1), True, np.random.default_rng(0), False)[0]


def test_initialisers_are_read_as_onnx_writes_them() -> None:
    found = initializers(graph(external=True))
    assert {k: (v.dtype, v.shape, v.external) for k, v in found.items()} == {
        "w": ("float32", (3, 2), True),
        "bias": ("float32", (2,), False),
        "one": ("float32", (1,), False),
        "half": ("float32", (1,), False),
        "axis": ("int64", (1,), False),
    }


@pytest.mark.parametrize("cut", [1, 10, 100, 300])
def test_a_cut_graph_is_a_bundle_error(cut: int) -> None:
    with pytest.raises(BundleError, match="graph"):
        OnnxGraphs(bundle().manifest, {"policy": graph()[:-cut]}, weights())


@pytest.mark.parametrize("external", [False, True])
def test_weights_take_the_place_of_the_graphs_own(external: bool) -> None:
    policy = bundle(graph_bytes=graph(external), tensors=weights(bias=0.25)).policy()
    gc.collect()  # the session reads the weights' memory: they must still be there
    np.testing.assert_allclose(act(policy), [0.55, 0.55], rtol=1e-6)


def test_a_weight_that_the_graph_has_not_is_refused() -> None:
    with pytest.raises(BundleError, match="extra is no initialiser"):
        bundle(tensors=weights() | {"extra": np.zeros(2, np.float32)}).policy()


def test_a_weight_of_another_shape_is_refused() -> None:
    with pytest.raises(BundleError, match=r"bias is float32 \(3,\), the graph has float32 \(2,\)"):
        bundle(tensors=weights() | {"bias": np.zeros(3, np.float32)}).policy()


def test_a_missing_external_weight_is_refused() -> None:
    tensors = weights()
    del tensors["w"]
    with pytest.raises(BundleError, match=r"needs \['w'\] from outside"):
        bundle(graph_bytes=graph(external=True), tensors=tensors).policy()


def test_a_wrong_probe_is_refused() -> None:
    with pytest.raises(BundleError, match="probe of version 0: out_action"):
        bundle(tensors=weights(probe_error=0.01)).policy()
    bundle(tensors=weights(probe_error=1e-4)).policy()


def test_a_bundle_without_probe_is_refused() -> None:
    tensors = {k: v for k, v in weights().items() if not k.startswith("probe/")}
    with pytest.raises(BundleError, match="probe"):
        bundle(tensors=tensors).policy()


def test_an_output_that_the_signature_promises_must_be_there() -> None:
    more = Signature(carry={"other": TensorSpec("float32", (2,))})
    with pytest.raises(BundleError, match="out_carry_other"):
        bundle(signature=more).policy()


def test_exploration_noise_is_zero_in_evaluation_and_other_noise_is_not() -> None:
    policy = bundle().policy()
    rng = np.random.default_rng(0)
    quiet = policy.step(policy.init(), see(1, 1, 1), True, rng, False)[0]
    np.testing.assert_allclose(quiet, [0.3, 0.3], rtol=1e-6)
    loud = policy.step(policy.init(), see(1, 1, 1), True, rng, True)[0]
    assert not np.allclose(loud, quiet)
    sampled = Signature(
        carry=bundle().manifest.signature.carry,
        noise={"explore": NoiseSpec((2,), "normal", acts=False)},
    )
    other = bundle(signature=sampled).policy()
    assert not np.allclose(act(other), quiet)


def test_interleaved_carries_equal_separate_runs() -> None:
    policy = bundle().policy()
    inputs = np.random.default_rng(1).normal(size=(2, 6, 3)).astype(np.float32)

    def step(carry: Carry, robot: int, t: int) -> tuple[np.ndarray, Carry]:
        rng = np.random.default_rng(t)
        action, carry, _ = policy.step(carry, {"vector": inputs[robot, t]}, t == 0, rng, True)
        return action, carry.executed(np.clip(action, -1, 1))

    def alone(robot: int) -> list[np.ndarray]:
        carry, actions = policy.init(), []
        for t in range(6):
            action, carry = step(carry, robot, t)
            actions.append(action)
        return actions

    carries, interleaved = [policy.init(), policy.init()], ([], [])
    for t in range(6):
        for robot in range(2):
            action, carries[robot] = step(carries[robot], robot, t)
            interleaved[robot].append(action)
    for robot in range(2):
        np.testing.assert_array_equal(interleaved[robot], alone(robot))


def test_the_executed_action_is_what_the_policy_remembers() -> None:
    policy = bundle().policy()
    rng = np.random.default_rng(0)
    _, carry, _ = policy.step(policy.init(), see(1, 1, 1), True, rng, False)
    carry = carry.executed(np.array([-1, 1], np.float32))
    _, _, extras = policy.step(carry, see(0, 0, 0), False, rng, False)
    np.testing.assert_allclose(extras["memory"], [-0.5, 0.5])
    _, _, extras = policy.step(carry, see(0, 0, 0), True, rng, False)
    np.testing.assert_array_equal(extras["memory"], [0, 0])


def test_an_observation_that_does_not_fit_is_a_bundle_error() -> None:
    policy = bundle().policy()
    for obs in (see(1, 2), {}):
        with pytest.raises(BundleError, match="graph"):
            policy.step(policy.init(), obs, True, np.random.default_rng(0), False)


def test_the_random_agent_is_its_own_source() -> None:
    assert bundle().policy().source is Source.POLICY
    assert bundle(agent="random").policy().source is Source.RANDOM


def test_only_missing_blobs_are_asked_for(tmp_path: Path) -> None:
    store = cache(tmp_path)
    first, second = bundle(0), bundle(1)
    assert {d for d, _ in store.offered(first.manifest)} == set(first.blobs)
    deliver(store, first)
    assert store.offered(second.manifest) == [
        (second.manifest.weights, len(second.blobs[second.manifest.weights]))
    ]


def test_a_blob_that_is_not_what_it_says_is_refused(tmp_path: Path) -> None:
    store, sent = cache(tmp_path), bundle()
    with pytest.raises(BundleError, match="hash"):
        store.received(sent.manifest.weights, b"something else")
    assert sent.manifest.weights in dict(store.offered(sent.manifest))
    with pytest.raises(BundleError, match="missing"):
        store.complete(sent.manifest)


@pytest.mark.parametrize("which", ["observation_space", "action_space"])
def test_a_bundle_for_another_robot_is_refused(tmp_path: Path, which: str) -> None:
    sent = bundle(**{which: "0" * 64})
    with pytest.raises(BundleError, match=which.replace("_", " ")):
        cache(tmp_path).offered(sent.manifest)


def test_a_policy_is_handed_over_once(tmp_path: Path) -> None:
    store = cache(tmp_path)
    assert store.take() is None
    deliver(store, bundle(0))
    deliver(store, bundle(1))
    taken = store.take()
    assert taken is not None
    assert taken.manifest.version == 1
    assert store.take() is None
    store.complete(bundle(1).manifest)  # offered again after a reconnection
    store.build_newest()
    assert store.take() is None


def test_it_boots_from_the_newest_on_disk(tmp_path: Path) -> None:
    store = cache(tmp_path)
    for version in range(3):
        deliver(store, bundle(version))
    later = cache(tmp_path)
    later.build_newest()
    taken = later.take()
    assert taken is not None
    assert taken.manifest == bundle(2).manifest
    np.testing.assert_allclose(act(taken), [0.32, 0.32], rtol=1e-6)


def test_the_background_thread_builds_and_ends(tmp_path: Path) -> None:
    deliver(cache(tmp_path), bundle(4))
    store = cache(tmp_path)
    store.start()
    store.close()
    store = cache(tmp_path)
    store.start()
    taken = None
    while taken is None:  # the test's own time limit ends a thread that never builds
        taken = store.take()
    store.close()
    assert taken.manifest.version == 4


def test_a_failed_probe_keeps_the_old_policy_for_ever(tmp_path: Path) -> None:
    store = cache(tmp_path)
    deliver(store, bundle(0))
    store.take()
    bad = bundle(1, tensors=weights(probe_error=1.0))
    deliver(store, bad)
    assert store.take() is None
    (report,) = store.reports()
    assert (report.experiment, report.version) == ("e1", 1)
    assert "probe" in report.error
    deliver(store, bad)
    assert [r.error for r in store.reports()] == ["it was refused before"]
    later = cache(tmp_path)
    later.build_newest()
    taken = later.take()
    assert taken is not None
    assert taken.manifest.version == 0


def test_a_policy_with_another_action_is_refused_before_the_swap(tmp_path: Path) -> None:
    lying = bundle(
        graph_bytes=graph(size=1),
        tensors=weights(size=1),
        signature=Signature(
            carry={"memory": TensorSpec("float32", (1,))},
            noise={"explore": NoiseSpec((1,), "normal", acts=True)},
        ),
    )
    store = cache(tmp_path)
    deliver(store, lying)
    assert store.take() is None
    assert "in_prev_action" in store.reports()[0].error


def test_a_blob_damaged_on_disk_is_fetched_again(tmp_path: Path) -> None:
    store, sent = cache(tmp_path), bundle(3)
    deliver(store, sent)
    (tmp_path / "blobs" / sent.manifest.weights).write_bytes(b"rot")
    later = cache(tmp_path)
    later.build_newest()
    assert later.take() is None
    assert "damaged" in later.reports()[0].error
    deliver(later, sent)
    assert later.take() is not None


def test_a_crash_while_writing_leaves_nothing_that_counts(tmp_path: Path) -> None:
    store = cache(tmp_path)
    deliver(store, bundle(0))
    (tmp_path / "bundles" / "00000002.json").write_text('{"format": 1, "exp')
    (tmp_path / "bundles" / ".00000003.json.tmp").write_text("{")
    later = cache(tmp_path)
    later.build_newest()
    taken = later.take()
    assert taken is not None
    deliver(later, bundle(1))
    assert later.take() is not None


def test_old_bundles_and_their_blobs_go(tmp_path: Path) -> None:
    store = cache(tmp_path, keep=2)
    for version in range(5):
        deliver(store, bundle(version))
    kept = {p.name for p in (tmp_path / "blobs").iterdir()}
    assert kept == set(bundle(3).blobs) | set(bundle(4).blobs)
    assert len(list((tmp_path / "bundles").iterdir())) == 2
    deliver(store, bundle(0, experiment="e2"))
    assert {p.name for p in (tmp_path / "blobs").iterdir()} == set(bundle(0).blobs)


def test_an_earlier_version_offered_later_is_obeyed(tmp_path: Path) -> None:
    store = cache(tmp_path)
    deliver(store, bundle(7))
    deliver(store, bundle(2))
    taken = store.take()
    assert taken is not None
    assert taken.manifest.version == 2


def test_discrete_actions_leave_as_int64() -> None:
    from onnx import TensorProto, helper, numpy_helper

    info = helper.make_tensor_value_info
    made = helper.make_graph(
        [
            helper.make_node("MatMul", ["in_vector", "w"], ["logits"]),
            helper.make_node("ArgMax", ["logits"], ["out_action"], axis=1, keepdims=0),
        ],
        "policy",
        [info("in_vector", TensorProto.FLOAT, [1, 3])],
        [info("out_action", TensorProto.INT64, [1])],
        [numpy_helper.from_array(np.zeros((3, 3), np.float32), "w")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    tensors = {
        "w": np.eye(3, dtype=np.float32),
        "probe/policy/in_vector": np.array([[0, 0, 1]], np.float32),
        "probe/policy/out_action": np.array([2]),
    }
    manifest = replace(bundle().manifest, signature=Signature())
    graphs = OnnxGraphs(manifest, {"policy": model.SerializeToString()}, tensors)
    policy = ActorPolicy(manifest, graphs, spaces.Discrete(3))
    action, carry, _ = policy.step(
        policy.init(), see(0, 5, 1), True, np.random.default_rng(0), True
    )
    assert (action.dtype, action.shape, int(action)) == (np.int64, (), 1)
    assert carry.executed(np.asarray(1)).prev_action.shape == ()
    assert spaces.Discrete(3).contains(int(action))


def test_a_disk_that_takes_no_blob_is_a_reason_to_refuse_the_policy(tmp_path: Path) -> None:
    store, sent = cache(tmp_path), bundle()
    (tmp_path / "blobs").rename(tmp_path / "gone")
    digest, data = next(iter(sent.blobs.items()))
    with pytest.raises(BundleError, match="No such file"):
        store.received(digest, data)
