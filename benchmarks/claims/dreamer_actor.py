"""Dreamer's actor costs a robot a small part of what a plan does, in one and the same model."""

from benchmarks.claims.claim import Claim, Values, Verdict, mean
from benchmarks.claims.kept import Kept

LARGE, SMALL = "cem 1000x12x10", "cem 200x15x3"  # candidates x steps x iterations
LESS = 10.0  # times


def decision(who: str, settings: str, plan: str) -> Kept:
    """Milliseconds of one decision, on one core, with the first Dreamer's bundle."""
    where = {"settings": settings, "observations": "vectors", "plans_in": "dreamer-v1"}
    return Kept("planning", f"{who}_p50_ms", {**where, "plan": plan}, "ratio")


def judge(values: Values) -> Verdict:
    """In both sizes the actor must take a tenth at most."""
    paper, laptop = (
        mean(values[f"plan, {size}"]) / max(mean(values[f"actor, {size}"]), 1e-6)
        for size in ("paper", "laptop")
    )
    return Verdict(
        min(paper, laptop) >= LESS,
        f"a plan takes {paper:.0f} times as long as the actor with the paper's settings, and"
        f" {laptop:.0f} times with small ones; the gate is {LESS:g}",
    )


CLAIM = Claim(
    says="An actor that was learned in imagination needs less computing than planning does: one"
    " rollout instead of thousands.",
    source="Hafner et al. 2020; the lecture, PlaNet and Dreamer",
    figure="none; PlaNet imagines 1,000 candidates of 12 steps 10 times for each action (10,000"
    " rollouts, the lecture says), Dreamer's actor none",
    value="milliseconds of a decision in the first Dreamer's model, the median, from"
    " `benchmarks.planning`",
    arms={
        "actor, paper": decision("actor", "paper", LARGE),
        "actor, laptop": decision("actor", "laptop", SMALL),
        "plan, paper": decision("planner", "paper", LARGE),
        "plan, laptop": decision("planner", "laptop", SMALL),
    },
    controls=("plan, paper", "plan, laptop"),
    judge=judge,
    seeds=(0,),
    chance=False,
)
