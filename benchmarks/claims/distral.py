"""Tasks that share their way are learned in fewer steps together, with Distral, than each alone.

The control is independent soft Q-learning: the shared policy stays uniform (floor 1), with alpha 1
and all else as for the others. Alpha 0 would be no fair control here: a random step then earns up
to log(4) / 5 = 0.28 and costs 0.1, so that the best policy never arrives. The control's own best
policy does, after 24.5 steps on average by exact soft value iteration; with beta 20, where it is
11.5, a prototype on tables still took 1.3 times as many steps apart as together.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from benchmarks.claims.claim import Claim, Outcome, Script, Values, Verdict, mean
from server.lockstep import preset, run

ROBOTS = tuple(f"gym:dreamfleet/TwoRooms-{goal}-v0" for goal in "ABCDEFGH")
EPISODES = 60  # of each task
MOST_STEPS = 300 * EPISODES * len(ROBOTS)
BATCH = 64
GATE = 1.4  # times fewer steps


def rooms(seed: int, config: Mapping[str, Any]) -> Outcome:
    """Learn all goals by turns; the value is the real steps of all episodes of all tasks."""
    start = time.process_time()
    result = run(
        "distral",
        robots=ROBOTS,
        steps=MOST_STEPS,
        episodes=EPISODES,
        seed=seed,
        config=config,
        train_ratio=BATCH / 4,  # an update for four rows
        min_rows=BATCH,
        max_debt=1000,
        eval_episodes=0,
    )
    ends = sorted(rows for robot in result["robots"].values() for rows, _ in robot["curve"])
    lengths = [after - before - 1 for before, after in pairwise([0, *ends])]
    turns = [lengths[k : k + len(ROBOTS)] for k in range(0, len(lengths), len(ROBOTS))]
    curve = [(float(k + 1), mean(turn)) for k, turn in enumerate(turns)]
    last = lengths[-len(lengths) // 5 :]
    more = {"last_fifth": mean(last), "cpu_seconds": round(time.process_time() - start, 1)}
    return Outcome(float(sum(lengths)), curve, more | {"updates": result["updates"]})


def arm(**config: Any) -> Script:
    """Distral on tables, with a configuration over that preset."""
    given = {**preset("distral", "table"), "batch_size": BATCH, **config}

    def learn_the_rooms(seed: int) -> Outcome:
        return rooms(seed, given)

    return Script(learn_the_rooms, {"robots": ROBOTS, "episodes": EPISODES, "config": given})


def judge(values: Values) -> Verdict:
    """The gate of a measurement with 5 seeds and 120 episodes of each task, which had 1.7."""
    means = {name: max(mean(found), 1.0) for name, found in values.items()}
    saved = {name: means["independent"] / value for name, value in means.items()}
    why = ", ".join(f"{name} {means[name]:.0f}" for name in means)
    return Verdict(
        saved["two columns"] >= GATE,
        f"together they take {saved['two columns']:.2f} times fewer steps (gate {GATE}): {why}",
    )


CLAIM = Claim(
    says="Tasks that share structure are learned faster together, by a shared policy that each task"
    " is drawn to, than by independent agents.",
    source="Teh et al. 2017",
    figure="in a grid of two rooms, faster and more robust than independent soft Q-learning; curves"
    " only",
    value=f"real steps of the first {EPISODES} episodes of each of 8 tasks",
    axes=("episodes of each task", "real steps of an episode, mean of 8 tasks"),
    arms={
        "two columns": arm(),
        "one column": arm(columns="one"),
        "independent": arm(floor=1.0),
    },
    controls=("independent",),
    judge=judge,
)
