"""PlaNet needs at most half the steps of D4PG."""

from benchmarks.claims.claim import Claim, Lockstep, Values, Verdict, in_parts, mean, ranges
from benchmarks.claims.d4pg import CONFIG
from benchmarks.claims.ddpg import RANDOM, ROBOT
from benchmarks.claims.kept import claimed, learned

STEPS = 5000  # D4PG is also judged after the twice as many of its own claim


def judge(values: Values) -> Verdict:
    """After the same steps the planner must have more than D4PG, by more than seeds differ, and no
    less than D4PG has after twice as many."""
    return in_parts(
        {
            "more after the same steps": min(values["planet"]) > max(values["d4pg"]),
            "as much as after twice as many": mean(values["planet"]) >= mean(values["d4pg, twice"]),
        },
        ranges(values),
    )


CLAIM = Claim(
    says="Planning in a learned latent model needs at most half the steps of a model-free policy.",
    source="Hafner et al. 2019; the lecture, PlaNet results",
    figure="six tasks from pictures in 2,000 episodes at most, where D4PG needs 50 times more",
    value=f"mean return of 10 episodes after {STEPS} steps on the pendulum's vectors, not pictures",
    arms={
        "planet": learned("planet"),
        "d4pg": Lockstep("d4pg", ROBOT, STEPS, preset="laptop", config=CONFIG),
        "d4pg, twice": claimed("d4pg", "d4pg"),
        "random": RANDOM,
    },
    controls=("d4pg", "d4pg, twice", "random"),
    judge=judge,
)
