"""A controller that sees the memory's state beside the picture, against one that does not."""

from benchmarks.claims.claim import Claim, Values, Verdict, ranges
from benchmarks.claims.poles import Poles

GATE, POOR = 450.0, 250.0


def judge(values: Values) -> Verdict:
    """All seeds of z and h come far, none of z does; what an untrained memory does is shown."""
    worst, best = min(values["z and h"]), max(values["z"])
    return Verdict(worst >= GATE and best <= POOR, ranges(values))


CLAIM = Claim(
    says="A linear controller does better when it sees the memory's hidden state beside the code"
    " (which is not to say that the memory must have learned).",
    source="Ha and Schmidhuber 2018, section 3; the control: Tallec, Blier and Kalainathan 2018",
    figure="CarRacing: z 632, z with a hidden layer 788, z and h 906; an untrained memory 870",
    value="mean return of 100 episodes of at most 500 steps of the pixel cart-pole",
    axes=("generations", ""),
    arms={
        "z and h": Poles(),
        "z": Poles("z"),
        "z, hidden layer": Poles("z", hidden=40),
        "z and h, memory untrained": Poles(memory_updates=0),
    },
    controls=("z", "z, hidden layer", "z and h, memory untrained"),
    pictures=("dream_pole_seen.png", "dream_pole_dreamt.png"),
    judge=judge,
)
