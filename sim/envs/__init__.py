"""The lecture's small environments, one file each, as gymnasium environments in NumPy.

`register` makes them known to gymnasium under the namespace `dreamfleet`; the robot adapter does it
by itself for `gym:dreamfleet/...`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium

NAMESPACE = "dreamfleet/"


@dataclass(frozen=True)
class Row:
    """One environment: `module:Class`, its time limit in steps, and its keyword arguments."""

    target: str
    steps: int | None
    options: Mapping[str, Any] = field(default_factory=dict)


ENVS: dict[str, Row] = {}


def register() -> None:
    """Make every row of `ENVS` known to gymnasium. Again does no harm."""
    for name, row in ENVS.items():
        env_id = NAMESPACE + name
        if env_id not in gymnasium.registry:
            gymnasium.register(
                env_id, row.target, max_episode_steps=row.steps, kwargs=dict(row.options)
            )
