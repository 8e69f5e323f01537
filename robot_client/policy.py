"""The graphs of a bundle with their weights, as a robot runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from robot_client.bundle import Manifest
from robot_client.errors import BundleError
from robot_client.onnx_file import Initializer, initializers
from robot_client.ports import Arrays

PROBE = "probe/"
PROBE_TOLERANCE = 1e-3  # absolute and relative: float32 kernels differ between machines
_SEVERITY_FATAL = 4  # errors reach us as exceptions; the log would only say them twice


class OnnxGraphs:
    """Graphs in ONNX Runtime, on one thread each. They share the weights that they have in common.

    Args:
        manifest: describes them.
        graphs: name -> ONNX file, of some or all graphs of the bundle; their weights may be
            placeholders or stored externally (not at all).
        tensors: the weights blob: every parameter by initialiser name, and the probes.

    Raises:
        BundleError: weights and graphs do not belong together, or a probe's output is wrong.
    """

    def __init__(self, manifest: Manifest, graphs: Mapping[str, bytes], tensors: Arrays) -> None:
        declared = {name: initializers(graph) for name, graph in graphs.items()}
        used = {key for found in declared.values() for key in found}
        given = {k: v for k, v in tensors.items() if not k.startswith(PROBE)}
        unknown = sorted(given.keys() - used)
        if unknown and manifest.graphs.keys() <= graphs.keys():
            raise BundleError(f"weights: {unknown[0]} is no initialiser of the graph")
        weights = {k: np.array(given[k]) for k in given.keys() & used}
        # ONNX Runtime reads their memory: they must live as long as the sessions.
        self._weights = {k: ort.OrtValue.ortvalue_from_numpy(v) for k, v in weights.items()}
        self._graphs: dict[str, _Graph] = {}
        for name, graph in graphs.items():
            own = {k: v for k, v in weights.items() if k in declared[name]}
            _check_weights(declared[name], own)
            values = {k: self._weights[k] for k in own}
            self._graphs[name] = _Graph(_session(graph, declared[name], values))
            self._check_names(name, manifest)
            self._check_probe(name, manifest, tensors)

    def run(self, name: str, feed: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name, from inputs by name. Raises BundleError when the graph cannot run."""
        return self._graphs[name].run(feed)

    def _check_names(self, name: str, manifest: Manifest) -> None:
        wanted, found = _outputs(name, manifest), self._graphs[name].outputs
        if wanted - set(found):
            raise BundleError(f"graph {name}: expected the outputs {sorted(wanted)}, got {found}")

    def _check_probe(self, name: str, manifest: Manifest, tensors: Arrays) -> None:
        prefix = f"{PROBE}{name}/"
        probe = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if not any(key.startswith("out_") for key in probe):
            raise BundleError(f"weights: there is no {prefix}out_... to check the graph with")
        found = self.run(name, probe)
        for key, expected in probe.items():
            if key.startswith("out_") and not _close(found.get(key), expected):
                raise BundleError(
                    f"probe of version {manifest.version}: {key} of {name} is"
                    f" {_brief(found.get(key))} instead of {_brief(expected)}"
                )


class _Graph:
    """A session with the names of its inputs and outputs."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._inputs = [i.name for i in session.get_inputs()]
        self.outputs = [o.name for o in session.get_outputs()]

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        try:
            found = self._session.run(self.outputs, {k: feed[k] for k in self._inputs})
        except KeyError as error:
            raise BundleError(f"the graph's input {error} is not given") from error
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise BundleError(f"the graph does not run: {error}") from error
        return dict(zip(self.outputs, (np.asarray(f) for f in found), strict=True))


def _outputs(name: str, manifest: Manifest) -> set[str]:
    carry = {f"out_carry_{k}" for k in manifest.signature.carry}
    extras = {f"out_extra_{k}" for k in manifest.signature.extras}
    return {
        "policy": {"out_action"} | carry | extras,
        "filter": carry | extras,
        "imagine": {"out_reward", "out_continue"} | carry,
        "propose": {"out_action"},
        "value": {"out_value"},
    }.get(name, set())


def _session(
    graph: bytes, declared: Mapping[str, Initializer], weights: Mapping[str, ort.OrtValue]
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _SEVERITY_FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    outside = [k for k in weights if declared[k].external]
    for name in weights.keys() - set(outside):
        options.add_initializer(name, weights[name])
    if outside:
        options.add_external_initializers(outside, [weights[k] for k in outside])
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise BundleError(f"graph: {error}") from error


def _check_weights(declared: Mapping[str, Initializer], weights: Arrays) -> None:
    for name, array in weights.items():
        wanted = declared[name]
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
