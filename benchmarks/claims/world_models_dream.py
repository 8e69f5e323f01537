"""Controllers that were evolved in dreams alone, tried for real."""

from benchmarks.claims.claim import Claim, Values, Verdict, in_parts, mean, ranges
from benchmarks.claims.poles import Poles

STEPS, GENERATIONS, GATE = 200, 40, 150.0
LESS = 10.0  # steps, of 200, that make a difference
CERTAIN, UNCERTAIN = 0.1, (0.5, 1.0, 1.3)  # temperatures


def judge(values: Values) -> Verdict:
    """Every seed of temperature 1 must transfer, and what is learned in dreams that are nearly
    certain, or of a memory that has learned nothing, must do worse than in the best uncertain ones.
    """
    means = {arm: mean(found) for arm, found in values.items()}
    best = max(means[f"temperature {t}"] for t in UNCERTAIN)
    return in_parts(
        {
            "uncertain dreams transfer": min(values["temperature 1.0"]) >= GATE,
            "certain ones do worse": means[f"temperature {CERTAIN}"] <= best - LESS,
            "the memory must have learned": means["memory untrained"] <= best - LESS,
        },
        ranges(values),
    )


CLAIM = Claim(
    says="A controller evolved entirely within the memory's dreams works in the real environment,"
    " if the memory has learned and its dreams are uncertain enough.",
    source="Ha and Schmidhuber 2018, section 4",
    figure="Take Cover, dreamt and real: temperature 0.1 2086 and 193, 1.15 918 and 1092",
    value="mean real return of 100 episodes of at most 200 steps of the pixel cart-pole",
    axes=("generations", ""),
    arms={
        **{
            f"temperature {t}": Poles(steps=STEPS, generations=GENERATIONS, temperature=t)
            for t in (CERTAIN, *UNCERTAIN)
        },
        "memory untrained": Poles(
            steps=STEPS, generations=GENERATIONS, temperature=1.0, memory_updates=0
        ),
    },
    controls=(f"temperature {CERTAIN}", "memory untrained"),
    judge=judge,
)
