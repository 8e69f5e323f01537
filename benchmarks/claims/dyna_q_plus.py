"""A bonus for what was not tried for long finds the way when a maze changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.claims.claim import Claim, Outcome, Script, Values, Verdict, blur, mean, ranges
from server.lockstep import run

ROBOT, STEPS = "gym:dreamfleet/DynaMaze-Blocking-v0", 3000
OPTIONS = {"lasting": True}
PLAIN = {"learning_rate": 1.0, "steps": 10}


def changing_maze(seed: int, config: Mapping[str, Any]) -> Outcome:
    """The value is how often it arrives within 3000 steps; after 1000 the way through shuts."""
    result = run(
        "dyna-q",
        ROBOT,
        steps=STEPS,
        seed=seed,
        config=config,
        options=OPTIONS,
        train_ratio=1.0,
        rows_per_chunk=1,  # who hears late of what was tried tries it again and again
        min_rows=1,
        max_debt=1000,
        eval_episodes=0,
    )
    arrived = [rows for rows, total in result["curve"] if total > 0]
    count = float(len(arrived))
    climbs = [(float(rows), float(k + 1)) for k, rows in enumerate(arrived)]
    return Outcome(count, [(0.0, 0.0), *climbs, (float(STEPS), count)])


def arm(**config: Any) -> Script:
    """Dyna-Q with a configuration."""

    def learn_the_changing_maze(seed: int) -> Outcome:
        return changing_maze(seed, config)

    about: dict[str, Any] = {
        "robot": ROBOT,
        "options": OPTIONS,
        "steps": STEPS,
        "rows_per_chunk": 1,
    }
    about |= {"config": config}
    return Script(learn_the_changing_maze, about)


def judge(values: Values) -> Verdict:
    """The bonus must help by more than seeds differ; without it, luck decides who finds the way."""
    gain = mean(values["dyna-q+"]) - mean(values["dyna-q"])
    chance = blur(values["dyna-q+"], values["dyna-q"])
    why = f"the bonus adds {gain:.0f} arrivals, by chance {chance:.0f}: {ranges(values)}"
    return Verdict(gain > chance, why)


CLAIM = Claim(
    says="In a maze that changes, a bonus for pairs that were not tried for long helps.",
    source="Sutton 1990; Sutton and Barto, example 8.2",
    figure="figure 8.4: about 125 arrivals in 3000 steps against 100",
    value="arrivals in 3000 steps",
    arms={"dyna-q": arm(**PLAIN), "dyna-q+": arm(**PLAIN, bonus=1e-4)},
    controls=("dyna-q",),
    judge=judge,
    seeds=tuple(range(10)),
)
