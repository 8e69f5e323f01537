"""TDM beside model-free and model-based learning where the model is hard: a puck to be pushed."""

from benchmarks.claims.claim import Claim, Values, Verdict, mean
from benchmarks.claims.tdm import arm, resting

ROBOT, EPISODE = "gym:dreamfleet/Push-v0", 100  # steps
STEPS = 8000
NEAR = 1.1  # times the distance that DDPG leaves


def judge(values: Values) -> Verdict:
    """TDM must come as near as DDPG, or nearer, and nearer than who does nothing of use."""
    left = {name: mean(found) for name, found in values.items()}
    why = ", ".join(f"{name} leaves {100 * value:.1f} cm" for name, value in left.items())
    return Verdict(left["tdm"] <= NEAR * left["ddpg"] and left["tdm"] < left["random"], why)


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
