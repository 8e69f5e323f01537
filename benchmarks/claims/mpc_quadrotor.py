"""A quadrotor learns to stay level from seconds of its own flights."""

from typing import Any

from agents.mpc import SHORT_PLAN
from benchmarks.claims.claim import Claim, Lockstep, reaches
from robot_client.bundle import PlanSettings

ROBOT, STEPS = "gym:dreamfleet/Quadrotor-v0", 500  # 10 seconds
# The sum of squared angles over a flight of 5 s whose tilt is 2 degrees all the time. Who falls
# has at least -0.6 from the last step alone.
GATE = -0.305


def arm(**plan: Any) -> Lockstep:
    """MPC with a plan; one update per row, three flights to judge it by."""
    settings = {**SHORT_PLAN.__dict__, **plan}
    PlanSettings(**settings)
    config = {"plan": settings}
    return Lockstep(
        "mpc", ROBOT, STEPS, 2.0, config=config, preset="laptop", min_rows=100, episodes=3
    )


CLAIM = Claim(
    says="With a learned ensemble, planning by CEM flies a quadrotor with a mean tilt of less than"
    " 2 degrees after 10 seconds of data, without any model beforehand.",
    source="Lambert et al. 2019; Chua et al. 2018",
    figure="a real Crazyflie hovers for up to 6 s after about 3 minutes of data",
    value="minus the sum of squared angles (rad) of a simulated 5 s flight, mean of 3",
    arms={
        "cem": arm(),
        "icem": arm(method="icem"),
        "mppi": arm(method="mppi", elites=100, temperature=0.05),
        "random shooting": arm(method="shooting", candidates=300),
        "untrained": Lockstep("mpc", ROBOT, 50, preset="laptop", min_rows=1_000_000, episodes=3),
    },
    controls=("untrained",),
    judge=reaches("cem", GATE, "untrained"),
)
