"""NAF learns to reach with few rows, by rows that it imagines."""

from typing import Any

from benchmarks.claims.claim import Claim, Lockstep, Values, Verdict, blur, in_parts, mean, ranges

ROBOT, EPISODES = "torque-arm", 20
STEPS = 40 * EPISODES
# Doing nothing has a return of -56, the best controller that was found by hand about -20.
EXTRA = 4  # updates from imagined rows after each from real ones, as long as there are any
LITTLE = 0.25  # of what imagination gains over none
REPLAY = 3.2  # updates per row with which as many are made in all from real ones
OPTIONS: dict[str, Any] = {
    "steps": 40,
    "deviation": 0.3,
    "noise": "normal",
    "imagined_until": STEPS // 2,
    "refit_every": 40,
}


def _arm(updates: float = 1.0, **config: Any) -> Lockstep:
    filled = {**OPTIONS, **config}
    return Lockstep("naf", ROBOT, STEPS, updates, filled, preset="laptop", min_rows=200)


def judge(values: Values) -> Verdict:
    """Imagined rows must be better than none, and than as many more updates from real ones; with
    episodes of iLQG they must not be much better still; and until the end, not as good. What seeds
    differ by anyhow does not count."""
    means = {arm: mean(found) for arm, found in values.items()}
    best, plain = means["imagination"], means["plain"]

    def better_than(arm: str) -> bool:
        return best - means[arm] > blur(values["imagination"], values[arm])

    return in_parts(
        {
            "imagined rows help": better_than("plain"),
            "more than as many updates from real ones": better_than("replay"),
            "iLQG adds little": means["ilqg"] - best < LITTLE * (best - plain),
            "they are better switched off halfway": better_than("left on"),
        },
        ranges(values),
    )


CLAIM = Claim(
    says="Imagined rows of linear models that are refitted as rows come let NAF learn from fewer"
    " real ones, and are better switched off halfway; episodes that a controller of iLQG plays add"
    " little or nothing.",
    source="Gu et al. 2016",
    figure="2 to 5 times fewer episodes on simulated arms; not compared with more replay",
    value=f"return after {EPISODES} episodes",
    arms={
        "imagination": _arm(imagined_updates=EXTRA),
        "left on": _arm(imagined_updates=EXTRA, imagined_until=STEPS),
        "ilqg": _arm(imagined_updates=EXTRA, ilqg=0.3),
        "plain": _arm(imagined_updates=0),
        "replay": _arm(REPLAY, imagined_updates=0),
    },
    controls=("plain", "replay"),
    judge=judge,
    seeds=tuple(range(20)),
)
