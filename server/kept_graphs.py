"""The graphs of an experiment's policy, kept for its next learner: to export them takes seconds."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Final

import agents
import robot_client
from agents.export import Exported
from robot_client.bundle import sha256
from robot_client.durable import write_durably

FILE: Final = "graphs.json"
_MAKERS: Final = ("torch", "onnx", "onnxscript")


class KeptGraphs:
    """Names the blobs that are an experiment's graphs, with what they were made from and by.

    Args:
        directory: the experiment's; the blobs are in blobs/, each named by its content.
        recipe: what the graphs depend on besides our code and the exporter; the whole job, since
            its settings decide. Nothing is kept without one.
    """

    def __init__(self, directory: Path, recipe: str | None) -> None:
        self._path, self._blobs, self._recipe = directory / FILE, directory / "blobs", recipe

    def find(self) -> Exported | None:
        """The graphs; None unless the same were made of the same, and are whole."""
        try:
            kept = json.loads(self._path.read_bytes())
            if kept["from"] != self._made_from():
                return None
            graphs = {name: self._blob(digest) for name, digest in kept["graphs"].items()}
            return Exported(graphs, frozenset(kept["weights"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # not there, or damaged: they are made anew

    def keep(self, exported: Exported) -> None:
        """Remember graphs, whose blobs are there."""
        if self._recipe is None:
            return
        graphs = {name: sha256(graph) for name, graph in exported.graphs.items()}
        kept = {"from": self._made_from(), "graphs": graphs, "weights": sorted(exported.weights)}
        write_durably(self._path, json.dumps(kept).encode())

    def _blob(self, digest: str) -> bytes:
        data = (self._blobs / digest).read_bytes()
        if sha256(data) != digest:
            raise ValueError(f"{digest}: another content")
        return data

    def _made_from(self) -> str | None:
        if self._recipe is None:
            return None
        parts = [self._recipe, *(f"{name} {version(name)}" for name in _MAKERS)]
        for package in (agents, robot_client):
            root = Path(str(package.__file__)).parent
            parts += [sha256(path.read_bytes()) for path in sorted(root.rglob("*.py"))]
        return sha256("\n".join(parts).encode())
