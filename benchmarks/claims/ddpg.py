"""DDPG learns to swing up a pendulum."""

from benchmarks.claims.claim import Claim, Lockstep, reaches

ROBOT, STEPS = "gym:Pendulum-v1", 10_000
# Returns are -1600 to 0; who balances at once has about -150, a random policy about -1200.
GATE = -220.0
RANDOM = Lockstep("random", ROBOT, steps=200)

CLAIM = Claim(
    says="A deterministic actor and a critic learn continuous control from replayed transitions.",
    source="Lillicrap et al. 2016",
    figure="more than 20 simulated tasks solved, the pendulum's swing-up among them, within 2.5 M"
    " steps; no figure for this one",
    value="mean return of 10 episodes",
    arms={"ddpg": Lockstep("ddpg", ROBOT, STEPS, preset="laptop"), "random": RANDOM},
    controls=("random",),
    judge=reaches("ddpg", GATE, "random"),
)
