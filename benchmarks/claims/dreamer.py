"""Dreamer's policy does better than planning, and than learning without a model."""

from benchmarks.claims.claim import Claim, Lockstep, Values, Verdict, in_parts, mean, ranges
from benchmarks.claims.d4pg import CONFIG
from benchmarks.claims.ddpg import RANDOM, ROBOT
from benchmarks.claims.kept import learned
from benchmarks.claims.planet import STEPS

OURS = ("dreamer-v1", "daydreamer", "dreamer")


def judge(values: Values) -> Verdict:
    """The first Dreamer must have more than PlaNet and D4PG; what its heirs have is said too."""
    means = {arm: mean(found) for arm, found in values.items()}
    return in_parts(
        {
            "better than planning": means["dreamer-v1"] > means["planet"],
            "better than without a model": means["dreamer-v1"] > means["d4pg"],
        },
        ranges(values),
    )


CLAIM = Claim(
    says="A policy that is learned in imagination does better on average than planning in a model"
    " of the same kind, and than learning without one.",
    source="Hafner et al. 2020; the lecture, Dreamer results",
    figure="mean of 20 tasks: 823 after 5 M steps, PlaNet 332 after as many, D4PG 786 after 100 M",
    value=f"mean return of 10 episodes after {STEPS} steps on the pendulum's vectors, not pictures",
    arms={
        **{name: learned(name) for name in OURS},
        "planet": learned("planet"),
        "d4pg": Lockstep("d4pg", ROBOT, STEPS, preset="laptop", config=CONFIG),
        "random": RANDOM,
    },
    controls=("planet", "d4pg", "random"),
    judge=judge,
    omits="Atari and DeepMind Lab, sometimes on par with Rainbow or IMPALA, by the lecture: 200 M"
    " frames of each game are weeks of this machine, and neither comes with what is installed",
)
