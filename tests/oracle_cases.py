"""Reads the golden cases of tests/oracle; see the README there."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.blocks.nets import MLP, BlockDense, Dense, RMSNorm

FOLDER = Path(__file__).parent / "oracle"
Arrays = dict[str, np.ndarray]


@cache
def _description(file: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{file}.json").read_text())["cases"]


@cache
def _arrays(file: str) -> Arrays:
    with np.load(FOLDER / f"{file}.npz") as arrays:
        return dict(arrays)


def cases(file: str, prefix: str = "") -> list[str]:
    """Names of the cases of a file, such as `4_rssm_core`, that start with `prefix`."""
    return [name for name in _description(file) if name.startswith(prefix)]


def load(file: str, case: str) -> tuple[Arrays, Arrays, dict[str, Any]]:
    """Inputs, outputs and the rest (settings, tolerances, notes) of one case."""
    inputs, outputs = (
        {
            key.split("|")[2]: array
            for key, array in _arrays(file).items()
            if key.startswith(f"{case}|{side}|")
        }
        for side in ("in", "out")
    )
    return inputs, outputs, _description(file)[case]


def tensor(array: np.ndarray) -> torch.Tensor:
    """Floating-point arrays in float64, others as they are."""
    made = torch.from_numpy(np.array(array))
    return made.double() if made.is_floating_point() else made


def tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    return {name: tensor(array) for name, array in arrays.items()}


@torch.no_grad()
def load_norm(norm: RMSNorm, weights: Arrays, name: str) -> None:
    """`name` as in `w:dyn/dynin0norm`."""
    norm.scale.copy_(torch.from_numpy(weights[f"{name}/scale"]))


@torch.no_grad()
def load_dense(layer: Dense, weights: Arrays, name: str, norm: str | None = None) -> None:
    """Kernel [in, out] and bias of `name`, and the scale of the layer's norm, named in full."""
    layer.weight.copy_(torch.from_numpy(weights[f"{name}/kernel"]).T)
    layer.bias.copy_(torch.from_numpy(weights[f"{name}/bias"]))
    if norm is not None:
        load_norm(layer.tail[0], weights, norm)


@torch.no_grad()
def load_block(layer: BlockDense, weights: Arrays, name: str, norm: str | None = None) -> None:
    """Kernel [blocks, in, out] and bias of `name`, and the scale of the layer's norm."""
    layer.weight.copy_(torch.from_numpy(weights[f"{name}/kernel"]))
    layer.bias.copy_(torch.from_numpy(weights[f"{name}/bias"]))
    if norm is not None:
        load_norm(layer.tail[0], weights, norm)


@torch.no_grad()
def load_conv(conv: torch.nn.Conv2d, weights: Arrays, name: str) -> None:
    """Kernel [height, width, in, out] and bias of `name`."""
    conv.weight.copy_(torch.from_numpy(weights[f"{name}/kernel"]).permute(3, 2, 0, 1))
    if conv.bias is not None:
        conv.bias.copy_(torch.from_numpy(weights[f"{name}/bias"]))


def load_mlp(mlp: MLP, weights: Arrays, name: str) -> None:
    """Layers `name`/linear<i> and `name`/norm<i>."""
    for i, layer in enumerate(mlp):
        load_dense(layer, weights, f"{name}/linear{i}", f"{name}/norm{i}")


def close(ours: torch.Tensor, golden: np.ndarray, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    """Compare with a golden array; large ones are stored in float32, so those at 1e-6 only."""
    rtol = max(rtol, 1e-6) if golden.dtype == np.float32 else rtol
    torch.testing.assert_close(
        ours.detach().double(),
        torch.from_numpy(np.array(golden)).double(),
        rtol=rtol,
        atol=atol,
    )
