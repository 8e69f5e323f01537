"""PlaNet needs fewer steps than D4PG."""

from benchmarks.claims.claim import Claim, Lockstep, Values, Verdict, mean
from benchmarks.claims.d4pg import CONFIG
from benchmarks.claims.ddpg import RANDOM, ROBOT
from benchmarks.claims.kept import learned

STEPS, LESS = 5000, 2  # of PlaNet; D4PG is also judged after so many times fewer


def judge(values: Values) -> Verdict:
    """After the same steps the planner must have more than D4PG, by more than seeds differ."""
    means = {arm: mean(found) for arm, found in values.items()}
    why = ", ".join(f"{arm} has {value:.0f}" for arm, value in means.items())
    return Verdict(min(values["planet"]) > max(values["d4pg"]), why)


CLAIM = Claim(
    says="Planning in a learned latent model needs far fewer steps than a model-free policy.",
    source="Hafner et al. 2019; the lecture, PlaNet results",
    figure="six tasks from pictures in 2,000 episodes at most, where D4PG needs 50 times more",
    value=f"mean return of 10 episodes after {STEPS} steps on the pendulum's vectors, not pictures",
    arms={
        "planet": learned("planet"),
        "d4pg": Lockstep("d4pg", ROBOT, STEPS, preset="laptop", config=CONFIG),
        "d4pg, half": Lockstep("d4pg", ROBOT, STEPS // LESS, preset="laptop", config=CONFIG),
        "random": RANDOM,
    },
    controls=("d4pg", "d4pg, half", "random"),
    judge=judge,
)
