"""MVE learns to swing up a pendulum from fewer rows than DDPG, and what its TD-k trick does."""

from typing import Any

from benchmarks.claims.claim import Claim, Lockstep, Values, Verdict, in_parts, mean
from benchmarks.claims.ddpg import GATE, ROBOT

STEPS = 2500


def _arm(preset: str = "laptop", **config: Any) -> Lockstep:
    return Lockstep("mve", ROBOT, STEPS, 1.0, config, preset=preset, min_rows=500)


def judge(values: Values) -> Verdict:
    """With a horizon of 3 the gate must be passed where DDPG, which is one of 0, has not come: by
    the better of two critics, of which one learns from imagined steps too (TD-k) and one does not.
    The trick is needed if only critics with it, of whatever weight, come so far."""
    means = {arm: mean(found) for arm, found in values.items()}
    real, tricked = means["real only"], max(means["mve"], means["equal"])
    figures = (
        f"{means['mve']:.0f} for imagined steps that count 0.1, {means['real only']:.0f} for none"
        f" that count (no TD-k), {means['equal']:.0f} for the paper's equal weights,"
        f" {means['steve']:.0f} for STEVE, {means['ddpg']:.0f} for DDPG; the gate is {GATE:g}"
    )
    return in_parts(
        {
            "the model's steps help": max(means["mve"], real) >= GATE > means["ddpg"],
            "TD-k is needed for it": tricked >= GATE > real,
        },
        figures,
    )


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
