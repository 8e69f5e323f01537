"""Imagined transitions, against as many more updates from real ones."""

from benchmarks.claims.claim import Claim, Lockstep, Values, Verdict, in_parts, mean, ranges

ROBOT, STEPS = "gym:CartPole-v1", 5000
# The base of all arms: double DQN with two layers of 64.
DQN = {
    "widths": (64, 64),
    "batch_size": 64,
    "learning_rate": 1e-3,
    "double": True,
    "target_every": 200,
    "random_last": 0.05,
    "random_updates": 5000,
    "clip": 10.0,
}
MORE = 5


def judge(values: Values) -> Verdict:
    """Imagination must be better than no more updates at all, and than as many from real rows."""
    means = {arm: mean(found) for arm, found in values.items()}
    return in_parts(
        {
            "better than no more updates": means["dyna"] > means["dqn"],
            "better than as many real ones": means["dyna"] > means["more replay"],
        },
        ranges(values),
    )


CLAIM = Claim(
    says="After as many real steps, who has also learned from what a network model imagines is"
    " ahead, even of who has made as many more updates from real steps.",
    source="Sutton 1990 with networks; Janner et al. 2019",
    figure="MBPO: SAC's returns on HalfCheetah with about a tenth of the steps",
    value="mean return of 10 episodes after 5000 steps",
    arms={
        "dyna": Lockstep(
            "dyna",
            ROBOT,
            STEPS,
            config={"dqn": {**DQN, "random_updates": 5000 * (1 + MORE)}, "updates": MORE},
            preset="laptop",
            min_rows=500,
        ),
        "more replay": Lockstep(
            "dqn",
            ROBOT,
            STEPS,
            1 + MORE,
            config={**DQN, "random_updates": 5000 * (1 + MORE)},
            min_rows=500,
        ),
        "dqn": Lockstep("dqn", ROBOT, STEPS, 1, config=DQN, min_rows=500),
    },
    controls=("more replay", "dqn"),
    judge=judge,
    seeds=(0, 1, 2, 3, 4),
)
