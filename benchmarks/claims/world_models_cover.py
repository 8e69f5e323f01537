"""Take Cover, evolved in dreams of several temperatures."""

from benchmarks.claims.claim import Arm, Claim, Values, Verdict, blur, in_parts, mean, ranges
from benchmarks.claims.covers import AtRandom, Covers, Sleepers

SOLVED = 750.0
TEMPERATURES = (0.1, 0.5, 1.0, 1.15, 1.3)


def arms() -> dict[str, Arm]:
    """Of a seed, all dream by the same V and M."""
    sleepers = Sleepers()
    dreams = {f"temperature {t}": Covers(t, sleepers) for t in TEMPERATURES}
    return {**dreams, "random": AtRandom(sleepers)}


def judge(values: Values) -> Verdict:
    """At 1.15 it is solved; at 0.1 what was learned is the model's faults: less than at 1.15, and
    by more than chance."""
    uncertain, certain = values["temperature 1.15"], values["temperature 0.1"]
    less = mean(uncertain) - blur(uncertain, certain)
    return in_parts(
        {
            "uncertain dreams teach it": mean(uncertain) >= SOLVED,
            "certain ones do not": mean(certain) < min(SOLVED, less),
        },
        ranges(values),
    )


CLAIM = Claim(
    says="Dreams of temperature 1.15 teach what works for real; nearly certain ones do not.",
    source="Ha and Schmidhuber 2018, table 2",
    figure="real score: temperature 0.1 193, 0.5 196, 1.0 868, 1.15 1092, 1.3 753; random 210;"
    " after 10 000 episodes at random and 200 generations of 64 with 16 dreams each",
    value=f"mean score of 20 real episodes after 600 at random and 100 generations of 16 with 8"
    f" dreams each; {SOLVED:g} counts as solved",
    axes=("generations", ""),
    arms=arms(),
    controls=("temperature 0.1", "random"),
    judge=judge,
    pictures=("dream_cover_seen.png", "dream_cover_dreamt.png"),
)
