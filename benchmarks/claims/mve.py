"""MVE learns to swing up a pendulum from fewer rows than DDPG."""

from typing import Any

from benchmarks.claims.claim import Claim, Lockstep, Values, Verdict, mean
from benchmarks.claims.ddpg import GATE, ROBOT

STEPS = 2500


def _arm(preset: str = "laptop", **config: Any) -> Lockstep:
    return Lockstep("mve", ROBOT, STEPS, 1.0, config, preset=preset, min_rows=500)


def judge(values: Values) -> Verdict:
    """With a horizon of 3 the gate must be passed where DDPG, which is one of 0, has not come."""
    means = {arm: mean(found) for arm, found in values.items()}
    why = (
        f"{means['mve']:.0f} for imagined steps that count 0.1, {means['real only']:.0f} for those"
        f" that do not count, {means['equal']:.0f} for the paper's equal weights,"
        f" {means['steve']:.0f} for STEVE, {means['ddpg']:.0f} for DDPG; the gate is {GATE:g}"
    )
    return Verdict(max(means["mve"], means["real only"]) >= GATE > means["ddpg"], why)


CLAIM = Claim(
    says="Targets that follow a learned model for three steps let DDPG learn from fewer rows; the"
    " TD-k trick is needed for it.",
    source="Feinberg et al. 2018; Buckman et al. 2018",
    figure="ahead of DDPG on cheetah, swimmer and walker; without TD-k the gain shrinks",
    value=f"mean return of 10 episodes after {STEPS} rows",
    arms={
        "mve": _arm(),
        "real only": _arm(imagined_weight=0.0),
        "equal": _arm(imagined_weight=1.0, imagined_noise=0.0),
        "steve": _arm("steve-laptop"),
        "ddpg": _arm(horizon=0),
    },
    controls=("ddpg",),
    judge=judge,
)
