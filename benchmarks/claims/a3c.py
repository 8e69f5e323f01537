"""A3C learns to balance a pole, and its way through a maze of numbered squares."""

from benchmarks.claims.claim import Claim, Lockstep, Values, Verdict, in_parts, mean

POLE, MAZE = "gym:CartPole-v1", "gym:dreamfleet/TwoRooms-A-v0"
POLE_GATE = 400.0  # of 500; a random policy has about 22
# The goal's reward less 0.1 a step: the shortest way from anywhere in the room is 8 to 14 steps.
MAZE_GATE = -0.5
POLE_STEPS, MAZE_STEPS = 200_000, 60_000
# Four rollouts of its one robot an update: from one alone the policy falls back again and again.
POLE_AGENT = {"batch_size": 4, "learning_rate": 2e-3}


def judge(values: Values) -> Verdict:
    """Both gates, by the means; random must stay below."""
    means = {arm: mean(found) for arm, found in values.items()}
    figures = (
        f"the pole {means['pole']:.0f}, the gate is {POLE_GATE:g}, random"
        f" {means['random, pole']:.0f}; the maze {means['maze']:.2f}, the gate is {MAZE_GATE:g},"
        f" random {means['random, maze']:.2f}; with an LSTM the pole {means['pole, LSTM']:.0f}"
    )
    return in_parts(
        {
            "it balances": means["pole"] >= POLE_GATE > means["random, pole"],
            "it finds its way": means["maze"] >= MAZE_GATE > means["random, maze"],
        },
        figures,
    )


def learns(robot: str, steps: int, **config: object) -> Lockstep:
    """A3C on a robot, as a laptop has it."""
    return Lockstep("a3c", robot, steps, config=config, preset="laptop", min_rows=1)


CLAIM = Claim(
    says="An actor-critic that learns from its latest steps alone, without replay, learns to"
    " balance a pole and to find its way in a maze.",
    source="Mnih et al. 2016",
    figure="57 Atari games: median 117 % of a human with an LSTM, after 4 days on 16 CPU cores",
    value="mean return of 10 episodes; one robot, so that no worker lags behind",
    arms={
        "pole": learns(POLE, POLE_STEPS, **POLE_AGENT),
        "pole, LSTM": learns(POLE, POLE_STEPS, cells=64, widths=(64,), **POLE_AGENT),
        "maze": learns(MAZE, MAZE_STEPS, entropy=0.01),
        "random, pole": Lockstep("random", POLE, steps=200),
        "random, maze": Lockstep("random", MAZE, steps=200),
    },
    controls=("random, pole", "random, maze"),
    judge=judge,
)
