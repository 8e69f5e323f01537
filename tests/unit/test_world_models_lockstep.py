"""World Models through all its phases on a robot, in dreams and for real, twice alike."""

from __future__ import annotations

from typing import Any

import pytest

from server.lockstep import run

TINY: dict[str, Any] = {
    "batch_size": 2,
    "batch_length": 8,
    "burn_in": 2,
    "latent": 2,
    "units": 4,
    "components": 2,
    "collect_episodes": 2,
    "collection": "held",
    "hold": 1,
    "frames": 8,
    "vision_updates": 3,
    "memory_updates": 3,
    "population": 4,
    "episodes": 1,
    "dream_steps": 10,
}


@pytest.mark.parametrize("evolve", ["robots", "dream"])
def test_all_phases_are_gone_through_alike(evolve: str, tmp_path: Any) -> None:
    curves, logs = [], []
    for name in ("one", "two"):
        result = run(
            "world-models",
            "gym:dreamfleet/PixelCartPole-v0",
            steps=400,
            config={**TINY, "evolve": evolve},
            directory=tmp_path / name,
            train_ratio=4.0,
            min_rows=20,
            device="cpu",
            eval_episodes=1,
        )
        curves.append((result["curve"], result["evaluation"]))
        logs.append((tmp_path / name / "metrics.jsonl").read_text())
    assert curves[0] == curves[1]
    assert logs[0] == logs[1]
    assert '"phase": 3.0' in logs[0]
    assert '"control/generation": 0.0' not in logs[0].splitlines()[-1]
