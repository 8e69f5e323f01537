"""How a robot plans with an agent that has a policy as well."""

from robot_client.bundle import PlanSettings

# A computer without a GPU must come to an end within a control period: few candidates, a short
# horizon with the critic's value beyond it, and the policy's own proposals among them (after
# TD-MPC2, Hansen et al. 2024).
SHORT_PLAN = PlanSettings(
    method="mppi",
    horizon=5,
    candidates=128,
    iterations=3,
    elites=16,
    proposals=16,
    min_std=0.05,
    warm_start=True,
    explore=0.0,
)
