"""A policy as it travels: an ONNX graph with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from robot_client.actor_policy import ActorPolicy
from robot_client.bundle import Manifest, TensorSpec
from robot_client.errors import BundleError
from robot_client.onnx_file import Initializer, initializers
from robot_client.ports import Arrays
from robot_client.ports import Carry as Carry
from robot_client.robot import Action

GRAPH = "policy"
PROBE = f"probe/{GRAPH}/"
PROBE_TOLERANCE = 1e-3  # absolute and relative: float32 kernels differ between machines
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}
_SEVERITY_FATAL = 4  # errors reach us as exceptions; the log would only say them twice


class OnnxPolicy(ActorPolicy):
    """A policy graph with its weights in ONNX Runtime, on one thread.

    Args:
        manifest: describes the graph.
        graph: the ONNX file; its weights may be placeholders or stored externally (not at all).
        tensors: the weights blob: every parameter by initialiser name, and the probe.

    Raises:
        BundleError: weights and graph do not belong together, or the probe's output is wrong.
    """

    def __init__(self, manifest: Manifest, graph: bytes, tensors: Arrays) -> None:
        super().__init__(manifest)
        weights = _weights(graph, tensors, alone=set(manifest.graphs) <= {GRAPH})
        probe = {k.removeprefix(PROBE): v for k, v in tensors.items() if k.startswith(PROBE)}
        self._session, self._kept_alive = _session(graph, weights)
        self._inputs = [i.name for i in self._session.get_inputs()]
        self._outputs = [o.name for o in self._session.get_outputs()]
        self._check_names()
        self._check_probe(probe)

    @property
    def action_spec(self) -> TensorSpec:
        """Dtype and shape of the action, without the batch axis."""
        out = next(o for o in self._session.get_outputs() if o.name == "out_action")
        return TensorSpec(_DTYPES.get(out.type, out.type), tuple(out.shape[1:]))

    def blank_action(self) -> Action:
        """Zeros in the form of the action."""
        blank: Action = self.action_spec.zeros()[0]
        return blank

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name, from inputs by name. Raises BundleError when the graph cannot run."""
        try:
            found = self._session.run(self._outputs, {k: feed[k] for k in self._inputs})
        except KeyError as error:
            raise BundleError(f"the graph's input {error} is not given") from error
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise BundleError(f"the graph does not run: {error}") from error
        return dict(zip(self._outputs, (np.asarray(f) for f in found), strict=True))

    def _check_names(self) -> None:
        signature = self.manifest.signature
        wanted = {"out_action", *(f"out_carry_{k}" for k in signature.carry)}
        wanted |= {f"out_extra_{k}" for k in signature.extras}
        if wanted - set(self._outputs):
            raise BundleError(f"graph: expected the outputs {sorted(wanted)}, got {self._outputs}")

    def _check_probe(self, probe: Arrays) -> None:
        if "out_action" not in probe:
            raise BundleError(f"weights: there is no {PROBE}out_action to check the graph with")
        found = self.run(probe)
        for name, expected in probe.items():
            if name.startswith("out_") and not _close(found.get(name), expected):
                raise BundleError(
                    f"probe of version {self.manifest.version}: {name} is {_brief(found.get(name))}"
                    f" instead of {_brief(expected)}"
                )


def _session(graph: bytes, weights: Arrays) -> tuple[ort.InferenceSession, list[Any]]:
    """The session, and the weights that must live as long as it: it reads their memory."""
    declared = initializers(graph)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _SEVERITY_FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    values = {k: ort.OrtValue.ortvalue_from_numpy(v) for k, v in weights.items()}
    outside = [k for k in values if declared[k].external]
    for name in values.keys() - set(outside):
        options.add_initializer(name, values[name])
    if outside:
        options.add_external_initializers(outside, [values[k] for k in outside])
    try:
        session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise BundleError(f"graph: {error}") from error
    return session, list(values.values())


def _weights(graph: bytes, tensors: Arrays, alone: bool) -> dict[str, NDArray[Any]]:
    """Those of the weights that the graph has: all, if it is the bundle's only one."""
    declared = initializers(graph)
    given = {k: v for k, v in tensors.items() if not k.startswith("probe/")}
    weights = {k: np.array(v) for k, v in given.items() if alone or k in declared}
    _check_weights(declared, weights)
    return weights


def _check_weights(declared: Mapping[str, Initializer], weights: Arrays) -> None:
    for name, array in weights.items():
        wanted = declared.get(name)
        if wanted is None:
            raise BundleError(f"weights: {name} is no initialiser of the graph")
        if (array.dtype.name, array.shape) != (wanted.dtype, wanted.shape):
            raise BundleError(
                f"weights: {name} is {array.dtype.name} {array.shape},"
                f" the graph has {wanted.dtype} {wanted.shape}"
            )
    missing = [k for k, v in declared.items() if v.external and k not in weights]
    if missing:
        raise BundleError(f"weights: the graph needs {missing[:5]} from outside")


def _close(found: NDArray[Any] | None, expected: NDArray[Any]) -> bool:
    if found is None or found.shape != expected.shape:
        return False
    return np.allclose(found, expected, rtol=PROBE_TOLERANCE, atol=PROBE_TOLERANCE)


def _brief(array: NDArray[Any] | None) -> str:
    return "missing" if array is None else f"{array.shape} {array.ravel()[:4].tolist()}"
