"""Take Cover, evolved in dreams of several temperatures: hours on a machine with a GPU."""

from benchmarks.claims.claim import Claim, Lockstep, Values, Verdict, in_parts, mean, ranges
from server.lockstep import preset

ROBOT, STEPS = "gym:dreamfleet/TakeCover-v0", 120_000
SOLVED = 750.0
TEMPERATURES = (0.1, 0.5, 1.0, 1.15, 1.3)
SMALL = {
    "batch_size": 16,
    "batch_length": 64,
    "collect_episodes": 500,
    "vision_updates": 20_000,
    "memory_updates": 20_000,
    "population": 64,
    "episodes": 8,
}


def judge(values: Values) -> Verdict:
    """At 1.15 it is solved; at 0.1 what was learned is the model's faults."""
    return in_parts(
        {
            "uncertain dreams teach it": mean(values["temperature 1.15"]) >= SOLVED,
            "certain ones do not": mean(values["temperature 0.1"]) < SOLVED,
        },
        ranges(values),
    )


CLAIM = Claim(
    says="Dreams of temperature 1.15 teach what works for real; nearly certain ones do not.",
    source="Ha and Schmidhuber 2018, table 2",
    figure="real score: temperature 0.1 193, 0.5 196, 1.0 868, 1.15 1092, 1.3 753; random 210",
    value=f"mean score of 20 real episodes; {SOLVED:g} counts as solved",
    arms={
        f"temperature {t}": Lockstep(
            "world-models",
            ROBOT,
            STEPS,
            0.5,
            {**preset("world-models", "take-cover"), **SMALL, "temperature": t},
            episodes=20,
        )
        for t in TEMPERATURES
    },
    controls=("temperature 0.1",),
    judge=judge,
    beyond="five arms of 40 000 updates on pictures each are days of two cores. After the 2500 of"
    " `python -m benchmarks.dream_pictures cover` V draws walls, and fireballs that are near, but"
    " neither monsters nor fireballs that are far",
    pictures=("dream_cover_seen.png", "dream_cover_dreamt.png"),
)
