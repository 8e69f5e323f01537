"""A version of a policy as one file that can be carried elsewhere."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import IO

from robot_client.schema import Json
from server.errors import Conflict
from server.version_files import blob_path, is_whole


def bundle_bytes(manifest: Json) -> int:
    """Size of a version's files together."""
    return sum(int(size) for size in manifest.get("sizes", {}).values())


def write_bundle(home: Path, manifest: Json, file: IO[bytes]) -> None:
    """Write a ZIP of manifest.json, graphs/NAME.onnx and weights.safetensors.

    Raises Conflict when files of the version have been pruned.
    """
    if not is_whole(home, manifest):
        raise Conflict(
            f"version {manifest.get('version')} has lost its files: newer ones took over"
        )
    with zipfile.ZipFile(file, "w") as bundle:  # not compressed: weights are noise
        bundle.writestr("manifest.json", json.dumps(manifest, indent=1))
        for name, digest in manifest.get("graphs", {}).items():
            bundle.write(blob_path(home, digest), f"graphs/{name}.onnx")
        if manifest.get("weights"):
            bundle.write(blob_path(home, manifest["weights"]), "weights.safetensors")
