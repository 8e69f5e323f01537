"""DayDreamer learns on robots, through the service, without a reset and within hours."""

from benchmarks.claims.claim import Claim, Values, Verdict, in_parts, mean
from benchmarks.claims.kept import Kept

# Reward per step of an A1: one that stands has at most 9, one that also walks has more.
STANDS, WALKS = 8.7, 9.6
NEARER = 0.7  # what must be left of the ball's distance
DELIVERS = 0.05  # reward per step of an arm that delivers a ball every 200 steps


def tenth(robot: str, number: int) -> Kept:
    """The mean reward per step in a tenth of a run of `benchmarks.service`."""
    return Kept(f"service_{robot}", "mean", {"tenth": number})


def judge(values: Values) -> Verdict:
    """The quadruped must stand and walk, the ball come nearer, and the arm deliver."""
    found = {arm: mean(rewards) for arm, rewards in values.items()}
    shown = {
        "the A1 stands": found["a1, last tenth"] >= STANDS,
        "the A1 walks": found["a1, last tenth"] >= WALKS,
        "the ball comes nearer": found["sphero, last tenth"] > NEARER * found["sphero, first"],
        "the arm delivers": found["xarm, last tenth"] >= DELIVERS,
    }
    return in_parts(shown, ", ".join(f"{arm} {reward:.2f}" for arm, reward in found.items()))


CLAIM = Claim(
    says="Within hours a world model teaches a quadruped to stand and walk, an arm to pick and"
    " place, and a ball to come near its goal.",
    source="Wu et al. 2022; the lecture, DayDreamer",
    figure="real robots, one set of settings: an A1 walks after 1 hour, a Sphero reaches its goals"
    " after 2, an XArm moves 3 objects a minute after 10",
    value="mean reward per step of a tenth of the run: simulated robots, each with its settings,"
    " 66, 36 and 32 minutes on two cores, one run each",
    arms={
        "a1, last tenth": tenth("a1", 10),
        "a1, first": tenth("a1", 1),
        "sphero, last tenth": tenth("sphero", 10),
        "sphero, first": tenth("sphero", 1),
        "xarm, last tenth": tenth("xarm", 10),
        "xarm, first": tenth("xarm", 1),
    },
    controls=("a1, first", "sphero, first", "xarm, first"),
    judge=judge,
    omits="all robots with the same settings: each has its own here, small enough for two cores;"
    " and the fourth robot, a UR5 that picks and places: there is none in `sim`, and the XArm's"
    " task, which is like it, was not learned in half an hour",
)
