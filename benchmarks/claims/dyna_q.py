"""Planning in a learned model takes the place of real steps in the Dyna maze."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from benchmarks.claims.claim import Claim, Outcome, Script, Values, Verdict, mean
from server.lockstep import run

ROBOT = "gym:dreamfleet/DynaMaze-v0"
EPISODES, MOST_STEPS = 50, 12_000


def maze(seed: int, config: Mapping[str, Any]) -> Outcome:
    """Learn for 50 episodes; the value is the real steps of all but the first, which is the same
    blind search for everyone."""
    start = time.process_time()
    result = run(
        "dyna-q",
        ROBOT,
        steps=MOST_STEPS,
        episodes=EPISODES,
        seed=seed,
        config=config,
        train_ratio=float(config.get("batch_size", 1)),
        min_rows=1,
        max_debt=1000,
        eval_episodes=0,
    )
    ends = [0, *(rows for rows, _ in result["curve"])]
    lengths = [after - before - 1 for before, after in pairwise(ends)]  # an episode has a row more
    curve = [(float(k + 1), float(steps)) for k, steps in enumerate(lengths)]
    more = {"lengths": lengths, "cpu_seconds": round(time.process_time() - start, 1)}
    # Who has not come to the end of 50 episodes has at least used up all steps.
    value = sum(lengths[1:]) if len(lengths) >= EPISODES else MOST_STEPS
    return Outcome(float(value), curve[1:], more)


def arm(**config: Any) -> Script:
    """Dyna-Q with a configuration."""

    def learn_the_maze(seed: int) -> Outcome:
        return maze(seed, config)

    return Script(learn_the_maze, {"robot": ROBOT, "episodes": EPISODES, "config": config})


def judge(values: Values) -> Verdict:
    """The gates of a measurement with 30 seeds: 2.5 and 3.5 times fewer steps."""
    means = {name: max(mean(found), 1.0) for name, found in values.items()}
    five, fifty = means["n = 0"] / means["n = 5"], means["n = 0"] / means["n = 50"]
    why = f"5 planning steps save a factor of {five:.1f}, 50 of {fifty:.1f}"
    control = means["n = 0"] / means["replay of 5"]
    return Verdict(
        five >= 2.5 and fifty >= 3.5,
        f"{why}; 5 updates from replayed rows instead of the model, of {control:.1f}",
    )


CLAIM = Claim(
    says="Planning updates from a learned model take the place of real steps: 5 of them of more"
    " than half, 50 of more than two thirds.",
    source="Sutton 1990; Sutton and Barto, example 8.1",
    figure="in the maze, 50 planning steps are near the optimum in the third episode, none in about"
    " the 25th",
    value="real steps of episodes 2 to 50",
    axes=("episodes", "real steps of an episode"),
    arms={
        "n = 0": arm(steps=0),
        "n = 5": arm(steps=5),
        "n = 50": arm(steps=50),
        "sweeping, n = 5": arm(steps=5, sweep=1e-4, learning_rate=0.5),
        # As many updates as with n = 5, all from rows drawn uniformly from the replay.
        "replay of 5": arm(steps=0, replayed=True, batch_size=6),
    },
    controls=("n = 0", "replay of 5"),
    judge=judge,
)
