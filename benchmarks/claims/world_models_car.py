"""CarRacing from pictures: what a controller needs to see."""

from benchmarks.claims.claim import Claim, reaches
from benchmarks.claims.tracks import Tracks

CLAIM = Claim(
    says="A linear controller on code and memory drives better than one on the code alone.",
    source="Ha and Schmidhuber 2018, table 1",
    figure="mean of 100 tracks: z 632 +- 251, z with a hidden layer 788 +- 141, z and h 906 +- 21,"
    " after 1800 generations of 64 with 16 tracks each."
    " The lecture's other rows are third parties' results: DQN 343 +- 18, A3C with continuous"
    " actions 591 +- 45, with discrete ones 652 +- 10, a leaderboard's best 838 +- 11",
    value="mean return of 20 tracks after 100 generations of 16 with 2 tracks each",
    axes=("generations", ""),
    arms={
        "z and h": Tracks(memory_updates=4000, units=256),
        "z": Tracks("z", memory_updates=0),
        "z, hidden layer": Tracks("z", hidden=40, memory_updates=0),
    },
    controls=("z", "z, hidden layer"),
    judge=reaches("z and h", 600, "z"),
    pictures=("dream_car_seen.png", "dream_car_dreamt.png"),
)
