"""DQN learns to balance a pole, and what Rainbow adds."""

from benchmarks.claims.claim import Claim, Lockstep, Values, Verdict, blur, in_parts, mean, ranges

ROBOT, STEPS = "gym:CartPole-v1", 30_000
GATE, POOR = 400.0, 100.0  # of 500; a random policy has about 22
RANDOM = Lockstep("random", ROBOT, steps=200)


def judge(values: Values) -> Verdict:
    """Both must come to the gate, and random stay far below; that the extensions help is shown if
    they add more than seeds differ by, for which there is little room above the gate."""
    means = {arm: mean(found) for arm, found in values.items()}
    gain, chance = means["rainbow"] - means["dqn"], blur(values["rainbow"], values["dqn"])
    told = "" if abs(gain) > chance else f", too little to be told from chance ({chance:.0f})"
    return in_parts(
        {
            "DQN learns": means["dqn"] >= GATE and means["random"] < POOR,
            "the extensions help": means["rainbow"] >= GATE and gain > chance,
        },
        f"{ranges(values)}, the gate is {GATE:g}; the extensions add {gain:.0f}{told}",
    )


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
