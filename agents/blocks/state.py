"""What agents keep and load, and which observations they choose."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces

from agents.errors import UnsupportedSpace


def chosen(observation_space: spaces.Dict, pattern: str) -> spaces.Dict:
    """The observations whose whole name matches. Raises UnsupportedSpace when there is none."""
    found = {k: s for k, s in observation_space.spaces.items() if re.fullmatch(pattern, k)}
    if not found:
        raise UnsupportedSpace(
            "keys", f"a pattern that matches one of {[*observation_space]}", pattern
        )
    return spaces.Dict(found)


def check_pattern(pattern: str) -> str:
    """The pattern itself. Raises ValueError when it is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


def flat_state(parts: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The states of modules and optimisers by part/name."""
    return {f"{n}/{k}": t for n, part in parts.items() for k, t in part.state_dict().items()}


def load_flat_state(parts: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Inverse of `flat_state`; each part raises when names or shapes differ."""
    for name, part in parts.items():
        prefix = f"{name}/"
        own = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
        part.load_state_dict(own)


def twin(generator: torch.Generator) -> torch.Generator:
    """One that draws what the generator would draw next, which stays where it is."""
    found = torch.Generator(generator.device)
    found.set_state(generator.get_state())
    return found


def restore_generator(generator: torch.Generator, state: torch.Tensor) -> None:
    """Go on from a generator's state; from one of another kind of device, go on at random."""
    if state.shape == generator.get_state().shape:
        generator.set_state(state)
        return
    digest = hashlib.sha256(state.numpy().tobytes()).digest()
    generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
