"""D4PG learns to swing up a pendulum, by a distribution of returns."""

from benchmarks.claims.claim import Claim, Lockstep, reaches
from benchmarks.claims.ddpg import GATE, RANDOM, ROBOT, STEPS

# What can be earned here, discounted: nothing to about -900 from hanging still for ever.
CONFIG = {"low": -900.0, "high": 0.0, "atoms": 101}

CLAIM = Claim(
    says="A critic of the return's distribution, with returns over several steps, learns as DDPG"
    " does or better.",
    source="Barth-Maron et al. 2018",
    figure="better than DDPG on most of the control suite; the pendulum's swing-up is among it",
    value="mean return of 10 episodes",
    arms={
        "d4pg": Lockstep("d4pg", ROBOT, STEPS, preset="laptop", config=CONFIG),
        "one step": Lockstep("d4pg", ROBOT, STEPS, preset="laptop", config={**CONFIG, "n_step": 1}),
        "random": RANDOM,
    },
    controls=("one step", "random"),
    judge=reaches("d4pg", GATE, "random"),
)
