"""D4PG learns to swing up a pendulum, by a distribution of returns."""

from benchmarks.claims.claim import Claim, Lockstep, Values, Verdict, blur, in_parts, mean, ranges
from benchmarks.claims.ddpg import GATE, RANDOM, ROBOT, STEPS
from benchmarks.claims.kept import claimed

# What can be earned here, discounted: nothing to about -900 from hanging still for ever.
CONFIG = {"low": -900.0, "high": 0.0, "atoms": 101}


def judge(values: Values) -> Verdict:
    """Every seed must come to the gate, no random one, and the mean not be further below DDPG's
    than seeds differ by."""
    lack = mean(values["ddpg"]) - mean(values["d4pg"])
    chance = blur(values["d4pg"], values["ddpg"])
    return in_parts(
        {
            "it learns": min(values["d4pg"]) >= GATE > max(values["random"]),
            "as DDPG does or better": lack <= chance,
        },
        f"{ranges(values)}, the gate is {GATE:g}; below DDPG by {lack:.0f}, by chance {chance:.0f}",
    )


CLAIM = Claim(
    says="A critic of the return's distribution, with returns over several steps, learns as DDPG"
    " does or better.",
    source="Barth-Maron et al. 2018",
    figure="better than DDPG on most of the control suite; the pendulum's swing-up is among it",
    value="mean return of 10 episodes",
    arms={
        "d4pg": Lockstep("d4pg", ROBOT, STEPS, preset="laptop", config=CONFIG),
        "one step": Lockstep("d4pg", ROBOT, STEPS, preset="laptop", config={**CONFIG, "n_step": 1}),
        "ddpg": claimed("ddpg", "ddpg"),
        "random": RANDOM,
    },
    controls=("one step", "ddpg", "random"),
    judge=judge,
)
