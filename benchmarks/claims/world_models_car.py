"""CarRacing from pictures: hours on a machine with a GPU and many cores."""

from typing import Any

from benchmarks.claims.claim import Claim, Lockstep, reaches

ROBOT, STEPS = "gym:dreamfleet/CarRacing-v0", 1_500_000
# As the paper, but for a 50th of the pictures and smaller generations.
SMALL = {
    "batch_size": 16,
    "batch_length": 64,
    "collect_episodes": 200,
    "vision_updates": 20_000,
    "memory_updates": 10_000,
    "population": 32,
    "episodes": 4,
}


def arm(**config: Any) -> Lockstep:
    """A run of the agent; an update for every fifth row."""
    return Lockstep("world-models", ROBOT, STEPS, 0.2, {**SMALL, **config}, episodes=20)


CLAIM = Claim(
    says="A linear controller on code and memory drives better than one on the code alone.",
    source="Ha and Schmidhuber 2018, table 1",
    figure="mean of 100 tracks: z 632 +- 251, z with a hidden layer 788 +- 141, z and h 906 +- 21."
    " The lecture's other rows are third parties' results: DQN 343 +- 18, A3C with continuous"
    " actions 591 +- 45, with discrete ones 652 +- 10, a leaderboard's best 838 +- 11",
    value="mean return of 20 tracks",
    arms={
        "z and h": arm(),
        "z": arm(sees="z"),
        "z, hidden layer": arm(sees="z", hidden=40),
        "z and h, memory untrained": arm(memory_updates=0),
    },
    controls=("z", "z, hidden layer", "z and h, memory untrained"),
    judge=reaches("z and h", 600, "z"),
    beyond="four arms of 1.5 million steps and 30 000 updates on pictures each are days of two"
    " cores. `python -m benchmarks.dream_pictures car` has what V and M make of ten minutes: road,"
    " bends and car are there, kerbs as a shade of red, the pattern of the grass is not; the dreams"
    " are of roads that bend and pass by, and sometimes break",
    pictures=("dream_car_seen.png", "dream_car_dreamt.png"),
)
