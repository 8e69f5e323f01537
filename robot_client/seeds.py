"""Seeds that share nothing: neither two episodes of a run, nor equal episodes of two runs."""

from __future__ import annotations

import numpy as np


def episode_seed(seed: int | None, number: int) -> int | None:
    """Seed for the reset of a run's episode `number`, in 0..2**32 - 1; None without a seed."""
    if seed is None:
        return None
    return int(np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1)[0])
