"""Imagination-augmented agents solve more of a small Sokoban than their model-free path does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.claims.claim import (
    Claim,
    Outcome,
    Script,
    Values,
    Verdict,
    blur,
    in_parts,
    mean,
    ranges,
)
from server.lockstep import run

ROBOT = "gym:dreamfleet/Sokoban-v0"  # 7 x 7 with the border, 2 boxes, every level a new one
# Who plays at random solves a third of these levels; of the usual ones, farther from solved, 3 %,
# from which nobody learns anything in so few steps.
OPTIONS = {"backwards": 40, "observe": "planes", "noop": False, "max_episode_steps": 40}
# With the 10 000 rows that the model is fitted to. After HALF the path alone has learned something.
STEPS, HALF, LONG = 160_000, 500_000, 1_000_000
LAST = 300  # levels at the end of the run that count
SOLVED = 5.0  # a solved level brings at least 8, another at most -2
GATE = 0.12  # of what three steps add to the copy's share
# One frame shows all that there is. 64 rollouts of 5 steps an update, as in the measurement.
AGENT = {"frames": 1, "batch_size": 64, "entropy": 0.01, "fits": 64, "learning_rate": 2e-3}


@dataclass(frozen=True)
class Solves:
    """An agent that plays levels it has not seen; its value is the share that it solves of the last
    300 on which it learned, by its own random choices.

    Args:
        config: of the agent.
        steps: of the robot, those for the model too.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    steps: int = STEPS

    @property
    def settings(self) -> dict[str, Any]:
        """What the outcome depends on."""
        given = {"config": {**AGENT, **self.config}, "steps": self.steps, "options": OPTIONS}
        return {"kind": "i2a", "robot": ROBOT, "last": LAST, **given}

    def run(self, seed: int) -> Outcome:
        """Learn; the curve is the share of each 300 levels."""
        start = time.process_time()
        result = run(
            "i2a",
            ROBOT,
            steps=self.steps,
            seed=seed,
            config={**AGENT, **self.config},
            options=OPTIONS,
            train_ratio=2.0,  # more than there is: each rollout is served once
            min_rows=1,
            max_debt=1000,
            eval_episodes=0,
        )
        solved = [(rows, float(total > SOLVED)) for rows, total in result["curve"]]
        curve = [
            (
                float(solved[k][0]),
                mean([share for _, share in solved[max(0, k - LAST + 1) : k + 1]]),
            )
            for k in range(LAST - 1, len(solved), LAST)
        ]
        last = [share for _, share in solved[-LAST:]]
        more = {
            "levels": len(solved),
            "updates": result["updates"],
            "seconds": result["seconds"],
            "cpu_seconds": round(time.process_time() - start, 1),
        }
        return Outcome(mean(last), curve, more)


def by_chance(seed: int) -> Outcome:
    """The share that presses keys at random."""
    steps = LAST * OPTIONS["max_episode_steps"]
    result = run("random", ROBOT, steps=steps, seed=seed, options=OPTIONS, eval_episodes=0)
    return Outcome(mean([float(total > SOLVED) for _, total in result["curve"]]))


def judge(values: Values) -> Verdict:
    """Three steps add the gate to the copy's share, are no worse than one and no better than five,
    and have more than the model-free path alone, after as many steps and after as many seconds of a
    processor, or nearly. A poor model does not hold the agent back: it has as much as the path
    alone, after steps in which that has learned something. What the true rules come to is shown."""
    means = {arm: mean(found) for arm, found in values.items()}
    gain = means["depth 3"] - means["copy 3"]
    steps = _ahead(values, "depth 3", "A2C")
    learned = _ahead(values, "A2C, half", "random") and _ahead(values, "poor 3, half", "random")
    early = "" if learned else " (too short a run: without a good model nothing was learned)"
    return in_parts(
        {
            "imagination helps": gain >= GATE,
            "the deeper the more": means["depth 1"] <= means["depth 3"] <= means["depth 5"],
            "more than the model-free path for each step": steps,
            "and for each second": _ahead(values, "depth 3", "A2C, long"),
            "a wrong model is ignored": learned and not _ahead(values, "A2C, half", "poor 3, half"),
        },
        f"three steps add {gain:.2f} to the copy's share, the gate is {GATE:g};"
        f" {ranges(values, 2)}{early}",
    )


def _ahead(values: Values, some: str, others: str) -> bool:
    """Whether an arm has more than another, by more than seeds differ."""
    one, other = values[some], values[others]
    return mean(one) - mean(other) > blur(one, other)


CLAIM = Claim(
    says="An agent that imagines learns more from each real step, more so the deeper it imagines,"
    " and learns to ignore a model that is wrong.",
    source="Weber et al. 2017, figures 2 to 4; the lecture",
    figure="Sokoban of 10 x 10: about 85 % of the levels with 5 steps, under 60 % without a model",
    value=f"share of the last {LAST} levels solved, each of them new",
    axes=("control steps", "share of 300 levels solved, each of them new"),
    arms={
        "depth 1": Solves({"depth": 1}),
        "depth 3": Solves({"depth": 3}),
        "depth 5": Solves({"depth": 5}),
        "copy 3": Solves({"depth": 3, "model": "copy"}),
        "poor 3, half": Solves({"depth": 3, "most_fits": 18}, HALF),
        "true 3": Solves({"depth": 3, "model": "true"}),  # what the learned model's errors cost
        "A2C": Solves({"depth": 0}),
        "A2C, half": Solves({"depth": 0}, HALF),
        # Per second: about as many steps as it makes while the others imagine.
        "A2C, long": Solves({"depth": 0}, LONG),
        "random": Script(by_chance, {"robot": ROBOT, "options": OPTIONS, "levels": LAST}),
    },
    controls=("copy 3", "poor 3, half", "A2C", "A2C, half", "A2C, long", "random"),
    judge=judge,
)
