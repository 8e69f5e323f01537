"""One PlaNet learns several tasks at the same time."""

from benchmarks.claims.claim import Claim, Lockstep, Values, Verdict, mean
from benchmarks.claims.kept import learned

POINT, PENDULUM = "pointmass", "gym:Pendulum-v1"


def judge(values: Values) -> Verdict:
    """One network must be much nearer to the networks of one task each than to acting at random,
    on both tasks."""
    point = mean(values["both: point mass"])
    pendulum = mean(values["both: pendulum"])
    idle = mean(values["random: point mass"]), mean(values["random: pendulum"])
    alone = mean(values["alone: pendulum"])
    why = (
        f"one network has {point:.0f} on the point mass (random {idle[0]:.0f}) and {pendulum:.0f}"
        f" on the pendulum (random {idle[1]:.0f}, its own network {alone:.0f})"
    )
    return Verdict(point > 3 * idle[0] and pendulum > (idle[1] + alone) / 2, why)


CLAIM = Claim(
    says="One latent model learns several tasks of different robots at the same time, and plans"
    " for all.",
    source="Hafner et al. 2019, section 5; the lecture, PlaNet results",
    figure="one agent on six tasks, in the end nearly as good as six agents",
    value="mean return of 10 episodes; 4,000 steps of each task with both, 5,000 alone",
    arms={
        "both: point mass": learned("planet", "both", POINT),
        "both: pendulum": learned("planet", "both", PENDULUM),
        "alone: pendulum": learned("planet"),
        "random: point mass": Lockstep("random", POINT, steps=200),
        "random: pendulum": Lockstep("random", PENDULUM, steps=200),
    },
    controls=("alone: pendulum", "random: point mass", "random: pendulum"),
    judge=judge,
)
