"""TDM learns to reach any place with less data than those who learn one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.claims.claim import Claim, Curve, Lockstep, Outcome, Values, Verdict, in_parts, mean

ROBOT, EPISODE = "gym:dreamfleet/Reach-v0", 50  # steps
STEPS, EARLY = 6000, 3000
UPDATES_PER_ROW = 2.0
NEAR = 1.5  # times the distance that planning in a model leaves
WIDTHS = (128, 128)
GAIN = 0.6  # of the distance that DDPG with HER leaves
ACTOR_CRITIC = {"actor_widths": WIDTHS, "critic_widths": WIDTHS, "deviation": 0.2, "discount": 0.98}
SETTINGS: Mapping[str, Mapping[str, Any]] = {"ddpg": ACTOR_CRITIC, "mpc": {}}


@dataclass(frozen=True)
class Distance:
    """A run on a task with a goal; its value is the distance from the goal when an episode ends, in
    metres. TDM is asked to be there in time, no sooner.

    Args:
        learner: whose rewards are minus the distance after each step.
        episode: its steps.
    """

    learner: Lockstep
    episode: int

    @property
    def settings(self) -> dict[str, Any]:
        """The learner's."""
        return {**self.learner.settings, "value": "last distance"}

    def run(self, seed: int) -> Outcome:
        """Train and evaluate; the curve has the mean over each episode."""
        found = self.learner.run(seed)
        curve: Curve = [(rows, -value / self.episode) for rows, value in found.curve]
        return replace(found, value=-mean(found.more["last_rewards"]), curve=curve)


def arm(
    agent: str, steps: int, robot: str = ROBOT, episode: int = EPISODE, **config: Any
) -> Distance:
    """An agent on the arm of seven joints, or another robot, for so many steps."""
    given = {**SETTINGS.get(agent, {"widths": WIDTHS}), **config}
    learner = Lockstep(agent, robot, steps, UPDATES_PER_ROW, given, preset="laptop", episodes=20)
    return Distance(learner, episode)


def resting(robot: str, episode: int) -> Distance:
    """What is left by who acts at random."""
    return Distance(Lockstep("random", robot, 200, episodes=20), episode)


def judge(values: Values) -> Verdict:
    """TDM must leave a good deal less than HER at the end, be ahead of DDPG at half time, and not
    far from planning in a model, which this task makes easy."""
    left = {name: mean(found) for name, found in values.items()}
    return in_parts(
        {
            "better than DDPG with HER": left["tdm"] < GAIN * left["ddpg+her"],
            "ahead of DDPG at half time": left["tdm, half"] < left["ddpg"],
            "near planning": left["tdm"] < NEAR * left["mpc"],
        },
        distances(left),
    )


def distances(left: Mapping[str, float]) -> str:
    """What each arm leaves, in words."""
    return ", ".join(f"{name} leaves {100 * value:.1f} cm" for name, value in left.items())


CLAIM = Claim(
    says="Values of goals and of the time that is left learn to reach with less data than values"
    " of one reward, with or without goals put in afterwards.",
    source="Pong et al. 2018",
    figure="near model-based learning in samples, near or above model-free in the end; curves only."
    " The lecture: where the model is easy to learn, on par with model-based control",
    value="distance from the goal at the end of an episode, mean of 20 (m); drawn is the mean over"
    " each episode while it learns",
    arms={
        "tdm": arm("tdm", STEPS),
        "tdm, half": arm("tdm", EARLY),
        "tdm, best of many actions": arm("tdm", STEPS, act="actions"),
        "tdm, best of many goals": arm("tdm", STEPS, act="goals"),
        "ddpg": arm("ddpg", STEPS),
        "ddpg+her": arm("her", STEPS, saturation=0.0),
        "mpc": arm("mpc", STEPS),
        "random": resting(ROBOT, EPISODE),
    },
    controls=("ddpg", "ddpg+her", "mpc", "random"),
    judge=judge,
)
