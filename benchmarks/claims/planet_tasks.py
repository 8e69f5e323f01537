"""One PlaNet learns two tasks at the same time."""

from benchmarks.claims.claim import Claim, Lockstep, Values, Verdict, in_parts, mean
from benchmarks.claims.kept import learned

POINT, PENDULUM = "pointmass", "gym:Pendulum-v1"


def judge(values: Values) -> Verdict:
    """On both tasks one network must have learned: on the point mass thrice what acting at random
    has, and on the pendulum nearer to what a network of its own has than to random."""
    point = mean(values["both: point mass"])
    pendulum = mean(values["both: pendulum"])
    idle = mean(values["random: point mass"]), mean(values["random: pendulum"])
    alone = mean(values["alone: pendulum"])
    figures = (
        f"one network has {point:.0f} on the point mass (random {idle[0]:.0f}) and {pendulum:.0f}"
        f" on the pendulum (random {idle[1]:.0f}, its own network {alone:.0f})"
    )
    return in_parts(
        {
            "it learns the point mass": point > 3 * idle[0],
            "and the pendulum": pendulum > (idle[1] + alone) / 2,
        },
        figures,
    )


CLAIM = Claim(
    says="One latent model learns two tasks of different robots at the same time, and plans for"
    " both.",
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
    omits="the other four of the six tasks, and pictures: two robots are what two cores can learn"
    " within an hour",
)
