"""HER learns to flip many bits, where a reward is never found by chance."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.claims.claim import Claim, Curve, Outcome, Script, Values, Verdict, in_parts
from server.lockstep import preset, run

EPISODES = 100  # of the evaluation
WINDOW = 100  # episodes that a point of the curve is the mean of
GATE, FAILURE = 0.95, 0.2
STEPS = {8: 10_000, 15: 20_000, 20: 40_000, 30: 80_000, 40: 300_000}
UPDATES_PER_ROW = 0.25
RELABELLED = 0.8


def flip(seed: int, *, bits: int, relabelled: float, steps: int) -> Outcome:
    """The share of goals that are reached without exploration, of so many bits."""
    start = time.process_time()
    config = {**preset("her", "laptop"), "relabelled": relabelled}
    result = run(
        "her",
        "gym:dreamfleet/BitFlip-v0",
        options={"bits": bits},
        steps=steps,
        seed=seed,
        config=config,
        eval_episodes=EPISODES,
        train_ratio=UPDATES_PER_ROW * config["batch_size"],
        min_rows=1000,
        max_debt=32,
        device="cpu",
    )
    reached = solved(result["evaluation"], bits)
    curve = [(float(rows), value) for rows, value in result["curve"]]
    more: Mapping[str, Any] = {
        "updates": result["updates"],
        "episodes": len(curve),
        "cpu_seconds": round(time.process_time() - start, 1),
    }
    return Outcome(float(np.mean(reached)), windows(curve, bits), more)


def solved(returns: Sequence[float], bits: int) -> list[bool]:
    """Who fails is cut after a step per bit, each of which has cost 1; who does not paid less."""
    return [value > -bits for value in returns]


def windows(curve: Curve, bits: int) -> Curve:
    """(rows, share of goals reached) over every so many episodes; exploring."""
    found: Curve = []
    for end in range(WINDOW, len(curve) + 1, WINDOW):
        part = curve[end - WINDOW : end]
        found.append((part[-1][0], float(np.mean(solved([v for _, v in part], bits)))))
    return found


def arm(bits: int, relabelled: float) -> Script:
    """A run of so many bits, with or without goals put in afterwards."""
    steps = STEPS[bits]

    def flips(seed: int) -> Outcome:
        return flip(seed, bits=bits, relabelled=relabelled, steps=steps)

    about = {"bits": bits, "relabelled": relabelled, "steps": steps}
    learner = {"updates_per_row": UPDATES_PER_ROW, "config": preset("her", "laptop")}
    return Script(flips, about | learner)


def judge(values: Values) -> Verdict:
    """All sizes must be solved by every seed with HER, and 20 bits by no seed without; what fewer
    bits come to without is shown."""
    worst = {bits: min(values[f"her {bits}"]) for bits in STEPS}
    best = max(values["dqn 20"])
    shares = ", ".join(f"{share:.0%} of {bits} bits" for bits, share in worst.items())
    why = f"the worst seeds reach {shares}; without HER, 20 bits at best {best:.0%}"
    return in_parts(
        {"HER learns all sizes": min(worst.values()) >= GATE, "DQN does not": best <= FAILURE}, why
    )


CLAIM = Claim(
    says="Goals put in afterwards make spaces of up to 2**40 goals with a sparse reward learnable;"
    " without them 2**20 are not.",
    source="Andrychowicz et al. 2017, section 3.1",
    figure="DQN alone fails beyond about 13 bits, with HER it solves up to 50",
    value="share of goals reached in 100 episodes",
    axes=("control steps", "share of goals reached in 100 episodes, exploring"),
    arms={
        **{f"her {bits}": arm(bits, RELABELLED) for bits in STEPS},
        **{f"dqn {bits}": arm(bits, 0.0) for bits in (8, 15, 20)},
    },
    controls=tuple(f"dqn {bits}" for bits in (8, 15, 20)),
    judge=judge,
)
