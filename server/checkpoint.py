"""Folders that are there whole or not at all.

A checkpoint is written to a temporary folder, each file is synced, the `done` mark is written last,
and the folder is renamed. Whatever is killed, whenever, the newest folder with its mark is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch

from robot_client.bundle import sha256
from robot_client.durable import sync_directory, write_durably
from server.errors import ServerError

_DONE = "done"


class CheckpointError(ServerError):
    """A checkpoint is damaged."""


class Restored(NamedTuple):
    """A checkpoint that was found whole, and why newer ones were passed over."""

    number: int
    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]
    damaged: list[str]


class Checkpoints:
    """Numbered checkpoints in a directory, the newest `keep` of each kind.

    Args:
        directory: made when it is missing.
        keep: older ones are deleted after a save; likewise those that were set aside, because
            they are damaged or because a person went back to one before them.
    """

    def __init__(self, directory: Path, keep: int = 2) -> None:
        self._directory = directory
        self._keep = keep
        directory.mkdir(parents=True, exist_ok=True)

    def save(
        self, number: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]
    ) -> Path:
        """Write checkpoint `number`: tensors by name, and plain JSON state."""
        final = self._directory / f"{number:012d}"
        if (final / _DONE).exists():
            return final
        temporary = self._directory / f".{final.name}.part"
        for leftover in (temporary, final):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary.mkdir()
        plain = {k: t.detach().cpu().contiguous() for k, t in tensors.items()}
        blob = safetensors.torch.save(plain)
        write_durably(temporary / "tensors.safetensors", blob)
        body = json.dumps({"state": state, "sha256": sha256(blob)}, indent=1).encode()
        write_durably(temporary / "state.json", body)
        write_durably(temporary / _DONE, b"")
        os.rename(temporary, final)
        sync_directory(self._directory)
        for old in self.numbers()[: -self._keep]:
            shutil.rmtree(self._directory / f"{old:012d}")
        self._prune_aside()
        return final

    def numbers(self) -> list[int]:
        """Numbers of the whole checkpoints, oldest first."""
        return sorted(int(p.parent.name) for p in self._directory.glob(f"[0-9]*/{_DONE}"))

    def load(self, number: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors and state of checkpoint `number`. Raises CheckpointError when it is damaged."""
        folder = self._directory / f"{number:012d}"
        try:
            body = json.loads((folder / "state.json").read_bytes())
            blob = (folder / "tensors.safetensors").read_bytes()
            digest, state = body["sha256"], body["state"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"checkpoint {folder}: {error!r}") from error
        if sha256(blob) != digest:
            raise CheckpointError(f"checkpoint {folder}: the tensors are not those that were saved")
        return safetensors.torch.load(blob), state

    def load_newest(self) -> Restored | None:
        """The newest checkpoint that is whole; None when there has never been one.

        Newer ones that are damaged are set aside as damaged-NUMBER, so that they are neither tried
        nor counted again.

        Raises:
            CheckpointError: all are damaged; none is set aside, for a person to decide.
        """
        damaged: dict[int, CheckpointError] = {}
        for number in reversed(self.numbers()):
            try:
                tensors, state = self.load(number)
            except CheckpointError as error:
                damaged[number] = error
                continue
            for bad in damaged:
                self._set_aside(bad)
            return Restored(number, tensors, state, [str(error) for error in damaged.values()])
        if damaged:
            raise next(iter(damaged.values()))
        return None

    def _prune_aside(self) -> None:
        """Of those that were damaged, and of those that an older one replaced, keep the newest."""
        for kind in ("damaged", "aside"):
            names = sorted(self._directory.glob(f"{kind}-[0-9]*"))
            for old in names[: -self._keep]:
                shutil.rmtree(old)

    def _set_aside(self, number: int) -> None:
        aside = self._directory / f"damaged-{number:012d}"
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(self._directory / f"{number:012d}", aside)
