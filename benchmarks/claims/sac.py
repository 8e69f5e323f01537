"""SAC learns to swing up a pendulum."""

from benchmarks.claims.claim import Claim, Lockstep, reaches
from benchmarks.claims.ddpg import GATE, RANDOM, ROBOT

STEPS = 8000

CLAIM = Claim(
    says="A soft actor-critic that adapts its temperature learns continuous control.",
    source="Haarnoja et al. 2018",
    figure="learns all tasks that DDPG does, and some that it does not; the pendulum is not there",
    value="mean return of 10 episodes",
    arms={"sac": Lockstep("sac", ROBOT, STEPS, preset="laptop"), "random": RANDOM},
    controls=("random",),
    judge=reaches("sac", GATE, "random"),
)
