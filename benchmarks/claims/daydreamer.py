"""DayDreamer learns on robots, through the service, without a reset and within hours."""

from benchmarks.claims.claim import Claim, Values, Verdict
from benchmarks.claims.kept import Kept

STANDS = 8.7  # reward per step of an A1 that stands
NEARER = 0.7  # what must be left of the ball's distance
DELIVERS = 0.05  # reward per step of an arm that delivers a ball every 200 steps


def tenth(robot: str, number: int) -> Kept:
    """The mean reward per step in a tenth of a run of `benchmarks.service`."""
    return Kept(f"service_{robot}", "mean", {"tenth": number})


def judge(values: Values) -> Verdict:
    """The quadruped must stand or walk, the ball come nearer, and the arm deliver."""
    found = {arm: rewards[0] for arm, rewards in values.items()}
    shown = {
        "the A1 stands": found["a1, last tenth"] >= STANDS,
        "the ball comes nearer": found["sphero, last tenth"] > NEARER * found["sphero, first"],
        "the arm delivers": found["xarm, last tenth"] >= DELIVERS,
    }
    why = "; ".join(f"{what}: {'yes' if held else 'no'}" for what, held in shown.items())
    return Verdict(all(shown.values()), why)


CLAIM = Claim(
    says="With one set of settings a world model teaches real robots to walk, to pick and place and"
    " to navigate within hours.",
    source="Wu et al. 2022; the lecture, DayDreamer",
    figure="an A1 walks after 1 hour, a Sphero reaches its goals after 2, an XArm moves 3 objects a"
    " minute after 10",
    value="mean reward per step of a tenth of the run: simulated robots, 66, 36 and 32 minutes on"
    " two cores, one run each",
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
)
