"""DQN learns to balance a pole, and what Rainbow adds."""

from benchmarks.claims.claim import Claim, Lockstep, Values, Verdict, mean

ROBOT, STEPS = "gym:CartPole-v1", 30_000
GATE = 400.0  # of 500; a random policy has about 22
RANDOM = Lockstep("random", ROBOT, steps=200)


def judge(values: Values) -> Verdict:
    """The mean of the better of both must come to the gate, and random stay far below."""
    means = {arm: mean(found) for arm, found in values.items()}
    why = f"DQN has {means['dqn']:.0f}, Rainbow {means['rainbow']:.0f}, the gate is {GATE:g}"
    holds = max(means["dqn"], means["rainbow"]) >= GATE and means["random"] < 100
    return Verdict(holds, why)


CLAIM = Claim(
    says="Q-learning with replay and a target network learns to choose; six extensions help.",
    source="Mnih et al. 2015; Hessel et al. 2018",
    figure="median of 57 Atari games: 79 % of a human for DQN, 223 % for Rainbow",
    value="mean return of 10 episodes",
    arms={
        "dqn": Lockstep("dqn", ROBOT, STEPS, preset="laptop", min_rows=500),
        "rainbow": Lockstep("dqn", ROBOT, STEPS, preset="rainbow-laptop", min_rows=500),
        "random": RANDOM,
    },
    controls=("random",),
    judge=judge,
)
