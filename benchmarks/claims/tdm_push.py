"""TDM beside model-free and model-based learning where the model is hard: a puck to be pushed."""

from benchmarks.claims.claim import Claim, Values, Verdict, in_parts, mean
from benchmarks.claims.tdm import arm, distances, resting

ROBOT, EPISODE = "gym:dreamfleet/Push-v0", 100  # steps
STEPS = 8000
NEAR = 1.1  # times the distance that DDPG leaves
LEARNT = 0.75  # of the distance that chance leaves


def judge(values: Values) -> Verdict:
    """TDM must come as near as DDPG, or nearer, and much nearer than who does nothing of use: where
    nobody learns, all are alike."""
    left = {name: mean(found) for name, found in values.items()}
    return in_parts(
        {
            "as near as DDPG": left["tdm"] <= NEAR * left["ddpg"],
            "it learns": left["tdm"] < LEARNT * left["random"],
        },
        distances(left),
    )


CLAIM = Claim(
    says="Where dynamics are hard to learn, values of goals and remaining time do as well as"
    " model-free learning.",
    source="Pong et al. 2018; the lecture, TDM results",
    figure="on par with DDPG, and ahead of planning in a model, on half-cheetah and ant; curves"
    " only",
    value="distance of the puck from the goal at the end of an episode, mean of 20 (m); drawn is"
    " the mean over each episode while it learns",
    arms={
        "tdm": arm("tdm", STEPS, ROBOT, EPISODE),
        "ddpg": arm("ddpg", STEPS, ROBOT, EPISODE),
        "ddpg+her": arm("her", STEPS, ROBOT, EPISODE, saturation=0.0),
        "mpc": arm("mpc", STEPS, ROBOT, EPISODE),
        "random": resting(ROBOT, EPISODE),
    },
    controls=("ddpg", "ddpg+her", "mpc", "random"),
    judge=judge,
)
