"""A cart swings its pole up after a few trials, by planning in what it has learned."""

from typing import Any

from agents.mpc import SHORT_PLAN
from benchmarks.claims.claim import Claim, Lockstep, reaches

ROBOT, STEPS = "gym:dreamfleet/CartPoleSwingUp-v0", 2000  # 10 trials
GATE = 150.0  # of 200
PLAN: dict[str, Any] = {**SHORT_PLAN.__dict__, "horizon": 20, "candidates": 150, "elites": 15}


def planner(**config: Any) -> Lockstep:
    """Learns the dynamics and plans in them, with an update of 128 rows twice a step."""
    given = {"plan": PLAN, **config}
    return Lockstep("mpc", ROBOT, STEPS, 2.0, given, preset="laptop", min_rows=200, episodes=3)


CLAIM = Claim(
    says="Planning in a probabilistic ensemble solves a task in a handful of trials.",
    source="Chua et al. 2018",
    figure="the cart-pole within about 10 trials of 200 steps, where SAC needs many times more",
    value="mean return of 3 episodes",
    arms={
        "cem": planner(members=3, per_member=1),
        "one member": planner(members=1, per_member=3),
        "sac": Lockstep("sac", ROBOT, STEPS, preset="laptop", min_rows=200, episodes=3),
    },
    controls=("one member", "sac"),
    judge=reaches("cem", GATE, "sac"),
)
