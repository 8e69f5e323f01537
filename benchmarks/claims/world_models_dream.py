"""Controllers that were evolved in dreams alone, tried for real."""

from benchmarks.claims.claim import Claim, Values, Verdict, mean
from benchmarks.claims.poles import Poles

STEPS, GENERATIONS, GATE = 200, 40, 150.0
TEMPERATURES = (0.1, 0.5, 1.0, 1.3)


def judge(values: Values) -> Verdict:
    """At temperature 1 every seed transfers."""
    means = ", ".join(f"{arm} {mean(found):.0f}" for arm, found in values.items())
    return Verdict(min(values["temperature 1.0"]) >= GATE, means)


CLAIM = Claim(
    says="A controller evolved entirely within the memory's dreams works in the real environment,"
    " if dreams are uncertain enough.",
    source="Ha and Schmidhuber 2018, section 4",
    figure="Take Cover, dreamt and real: temperature 0.1 2086 and 193, 1.15 918 and 1092",
    value="mean real return of 100 episodes of at most 200 steps of the pixel cart-pole",
    arms={
        **{
            f"temperature {t}": Poles(steps=STEPS, generations=GENERATIONS, temperature=t)
            for t in TEMPERATURES
        },
        "memory untrained": Poles(
            steps=STEPS, generations=GENERATIONS, temperature=1.0, memory_updates=0
        ),
    },
    controls=("memory untrained",),
    judge=judge,
)
