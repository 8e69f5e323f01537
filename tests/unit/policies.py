"""A small recurrent policy as an ONNX graph, made by hand, and its bundle.

The action is clip(w * observation[:2] + bias + memory + noise), the memory counts half of all
earlier previous actions, is_first forgets it, and the extra shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from robot_client.actor_policy import ActorPolicy
from robot_client.bundle import Manifest, NoiseSpec, Signature, TensorSpec, sha256
from robot_client.policy import OnnxGraphs
from robot_client.schema import ActionSpace, space_hash

OBSERVED = spaces.Dict({"vector": spaces.Box(-10.0, 10.0, (3,), np.float32)})
ACTIONS = spaces.Box(-1.0, 1.0, (2,), np.float32)
SIGNATURE = Signature(
    carry={"memory": TensorSpec("float32", (2,))},
    noise={"explore": NoiseSpec((2,), "normal", acts=True)},
    extras={"memory": TensorSpec("float32", (2,))},
)
Tensors = dict[str, NDArray[Any]]


def graph(external: bool = False, size: int = 2, operator: str = "Add") -> bytes:
    """`external`: without the content of w; `operator`: another one is another architecture."""
    f, b = TensorProto.FLOAT, TensorProto.BOOL
    info = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Cast", ["in_is_first"], ["first"], to=f),
        helper.make_node("Sub", ["one", "first"], ["keep1"]),
        helper.make_node("Unsqueeze", ["keep1", "axis"], ["keep"]),
        helper.make_node("Add", ["in_carry_memory", "in_prev_action"], ["both"]),
        helper.make_node("Mul", ["both", "half"], ["halved"]),
        helper.make_node("Mul", ["halved", "keep"], ["memory"]),
        helper.make_node("MatMul", ["in_vector", "w"], ["seen"]),
        helper.make_node(operator, ["seen", "bias"], ["biased"]),
        helper.make_node("Add", ["biased", "memory"], ["mean"]),
        helper.make_node("Add", ["mean", "in_noise_explore"], ["out_action"]),
        helper.make_node("Identity", ["memory"], ["out_carry_memory"]),
        helper.make_node("Identity", ["memory"], ["out_extra_memory"]),
    ]
    inputs = [
        info("in_vector", f, [1, 3]),
        info("in_carry_memory", f, [1, size]),
        info("in_prev_action", f, [1, size]),
        info("in_is_first", b, [1]),
        info("in_noise_explore", f, [1, size]),
    ]
    outputs = [info(f"out_{n}", f, [1, size]) for n in ("action", "carry_memory", "extra_memory")]
    w = numpy_helper.from_array(np.zeros((3, size), np.float32), "w")
    if external:
        w.ClearField("raw_data")
        w.data_location = TensorProto.EXTERNAL
        entry = w.external_data.add()
        entry.key, entry.value = "location", "weights.bin"
    constants = [
        w,
        numpy_helper.from_array(np.zeros(size, np.float32), "bias"),
        numpy_helper.from_array(np.array([1], np.float32), "one"),
        numpy_helper.from_array(np.array([0.5], np.float32), "half"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
    ]
    made = helper.make_graph(nodes, "policy", inputs, outputs, constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    data: bytes = model.SerializeToString()
    return data


def weights(bias: float = 0.0, size: int = 2, probe_error: float = 0.0) -> Tensors:
    """w is 0.1 everywhere; the probe is right unless `probe_error`."""
    w = np.full((3, size), 0.1, np.float32)
    seen = np.array([[1, 2, 3]], np.float32)
    zero = np.zeros((1, size), np.float32)
    return {
        "w": w,
        "bias": np.full(size, bias, np.float32),
        "probe/policy/in_vector": seen,
        "probe/policy/in_carry_memory": zero,
        "probe/policy/in_prev_action": zero + 1,
        "probe/policy/in_is_first": np.array([False]),
        "probe/policy/in_noise_explore": zero,
        "probe/policy/out_action": seen @ w + np.float32(bias + 0.5 + probe_error),
    }


@dataclass(frozen=True)
class Bundle:
    """A manifest and its blobs."""

    manifest: Manifest
    blobs: dict[str, bytes]

    def policy(self, actions: ActionSpace = ACTIONS) -> ActorPolicy:
        from robot_client.bundle import read_safetensors

        graphs = {"policy": self.blobs[self.manifest.graphs["policy"]]}
        tensors = read_safetensors(self.blobs[self.manifest.weights])
        return ActorPolicy(self.manifest, OnnxGraphs(self.manifest, graphs, tensors), actions)


def bundle(
    version: int = 0,
    experiment: str = "e1",
    graph_bytes: bytes | None = None,
    tensors: Tensors | None = None,
    signature: Signature = SIGNATURE,
    observed: spaces.Dict = OBSERVED,
    actions: spaces.Space[Any] = ACTIONS,
    **changes: Any,
) -> Bundle:
    """A bundle of the policy above; its bias is `version` / 100 unless `tensors` are given."""
    from safetensors.numpy import save

    made = graph_bytes or graph()
    blob = save(weights(bias=version / 100) if tensors is None else tensors)
    blobs = {sha256(made): made, sha256(blob): blob}
    manifest = Manifest(
        experiment=experiment,
        agent="dreamer",
        version=version,
        kind="actor",
        graphs={"policy": sha256(made)},
        weights=sha256(blob),
        sizes={k: len(v) for k, v in blobs.items()},
        observation_space=space_hash(observed),
        action_space=space_hash(actions),
        signature=signature,
    )
    return Bundle(replace(manifest, **changes), blobs)
