"""TDM learns to reach any place with less data than those who learn one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.claims.claim import Claim, Curve, Lockstep, Outcome, Values, Verdict, mean

ROBOT, EPISODE = "gym:dreamfleet/Reach-v0", 50  # steps
STEPS, EARLY = 6000, 3000
UPDATES_PER_ROW = 2.0
WIDTHS = (128, 128)
GAIN = 0.6  # of the distance that DDPG with HER leaves
ACTOR_CRITIC = {"actor_widths": WIDTHS, "critic_widths": WIDTHS, "deviation": 0.2, "discount": 0.98}


@dataclass(frozen=True)
class Reacher:
    """A run on the reacher; its value is the mean distance of the hand from the goal, in metres,
    over whole episodes."""

    learner: Lockstep

    @property
    def settings(self) -> dict[str, Any]:
        """The learner's."""
        return self.learner.settings

    def run(self, seed: int) -> Outcome:
        """Train and evaluate. Rewards are minus the distance after each step."""
        found = self.learner.run(seed)
        curve: Curve = [(rows, -value / EPISODE) for rows, value in found.curve]
        return replace(found, value=-found.value / EPISODE, curve=curve)


def arm(agent: str, steps: int, **config: Any) -> Reacher:
    """An agent on the arm of seven joints, for so many steps."""
    small: Mapping[str, Any] = {"widths": WIDTHS} if agent in ("her", "tdm") else ACTOR_CRITIC
    given = {**small, **config}
    return Reacher(
        Lockstep(agent, ROBOT, steps, UPDATES_PER_ROW, given, preset="laptop", episodes=20)
    )


def judge(values: Values) -> Verdict:
    """TDM must leave a good deal less than HER at the end, and be ahead of DDPG at half time."""
    left = {name: mean(found) for name, found in values.items()}
    ahead = left["tdm, half"] < left["ddpg"]
    why = ", ".join(f"{name} leaves {100 * value:.1f} cm" for name, value in left.items())
    return Verdict(left["tdm"] < GAIN * left["ddpg+her"] and ahead, why)


CLAIM = Claim(
    says="Values of goals and of the time that is left learn to reach with less data than values"
    " of one reward, with or without goals put in afterwards.",
    source="Pong et al. 2018",
    figure="near model-based learning in samples, near or above model-free in the end; curves only",
    value="mean distance from the goal over 20 episodes (m)",
    arms={
        "tdm": arm("tdm", STEPS),
        "tdm, half": arm("tdm", EARLY),
        "tdm, best of many actions": arm("tdm", STEPS, act="actions"),
        "tdm, best of many goals": arm("tdm", STEPS, act="goals"),
        "ddpg": arm("ddpg", STEPS),
        "ddpg+her": arm("her", STEPS, saturation=0.0),
        "random": Reacher(Lockstep("random", ROBOT, 200, episodes=20)),
    },
    controls=("ddpg", "ddpg+her", "random"),
    judge=judge,
)
