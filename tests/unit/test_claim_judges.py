"""Every claim's judge says yes to what the claim describes, and no to what lacks any of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from benchmarks.claims.claim import Verdict, blur, in_parts
from benchmarks.claims.table import CLAIMS, claim

Arms = Mapping[str, float | Sequence[float]]  # a number is that of every seed


@dataclass(frozen=True)
class Row:
    """Outcomes that a judge must tell apart.

    Args:
        good: values of all arms, of which it must say yes.
        bad: what the claim says and is not so -> the values that differ from the good ones. Of a
            judge that tells parts, the names of the parts.
    """

    good: Arms
    bad: Mapping[str, Arms] = field(default_factory=dict)


PENDULUM = {"random": -1300}
SAME_POLES = {"z, hidden layer": 60, "z and h, memory untrained": 500}

ROWS: dict[str, Row] = {
    "a3c": Row(
        {"pole": 480, "pole, LSTM": 300, "maze": -0.2, "random, pole": 22, "random, maze": -20},
        {
            "it balances": {"pole": 300},
            "it finds its way": {"maze": -3},
        },
    ),
    "d4pg": Row(
        {"d4pg": (-150, -160, -170), "one step": -150, "ddpg": (-145, -155, -165), **PENDULUM},
        {
            "it learns": {"d4pg": (-120, -120, -230)},
            "as DDPG does or better": {"d4pg": (-205, -210, -215)},
        },
    ),
    "daydreamer": Row(
        {
            "a1, first": 5,
            "a1, last tenth": 11,
            "sphero, first": -0.6,
            "sphero, last tenth": -0.2,
            "xarm, first": 0,
            "xarm, last tenth": 0.1,
        },
        {
            "the A1 stands": {"a1, last tenth": 7},
            "the A1 walks": {"a1, last tenth": 9},
            "the ball comes nearer": {"sphero, last tenth": -0.5},
            "the arm delivers": {"xarm, last tenth": 0.01},
        },
    ),
    "ddpg": Row(
        {"ddpg": -150, **PENDULUM},
        {"every seed learns": {"ddpg": (-150, -150, -400)}, "random does not": {"random": -200}},
    ),
    "distill": Row(
        {"kl": 1, "mse": 0.97, "nll": 0.96, "alone": 0.5},
        {f"by {loss}": {loss: (1, 1, 0.9)} for loss in ("kl", "mse", "nll")},
    ),
    "dqn": Row(
        {"dqn": (410, 420, 430), "rainbow": (480, 490, 500), "random": 22},
        {
            "DQN learns": {"dqn": (300, 310, 320)},
            "the extensions help": {"rainbow": (400, 500, 400)},
        },
    ),
    "dreamer": Row(
        {
            "dreamer-v1": -160,
            "daydreamer": -900,
            "dreamer": -900,
            "planet": -400,
            "d4pg": -400,
            **PENDULUM,
        },
        {
            "better than planning": {"planet": -150},
            "better than without a model": {"d4pg": -150},
        },
    ),
    "dyna": Row(
        {"dyna": 400, "more replay": 300, "dqn": 200},
        {
            "better than no more updates": {"dqn": 400},
            "better than as many real ones": {"more replay": 450},
        },
    ),
    "dyna-q": Row(
        {"n = 0": 3600, "n = 5": 1000, "n = 50": 800, "sweeping, n = 5": 900, "replay of 5": 1500},
        {"five help": {"n = 5": 2000}, "fifty help more": {"n = 50": 1100}},
    ),
    "dyna-q-plus": Row(
        {"dyna-q": (80, 90, 100), "dyna-q+": (130, 140, 150)},
        {"it helps": {"dyna-q": (140, 145, 150)}, "by more than luck": {"dyna-q": (40, 60, 200)}},
    ),
    "her": Row(
        {
            **{f"her {bits}": 1 for bits in (8, 15, 20, 30, 40)},
            **{f"dqn {bits}": 0 for bits in (8, 15, 20)},
        },
        {"HER learns all sizes": {"her 40": (1, 1, 0.5)}, "DQN does not": {"dqn 20": 0.3}},
    ),
    "mpc-quadrotor": Row(
        {"cem": -0.05, "icem": -0.05, "mppi": -0.05, "random shooting": -0.1, "untrained": -10},
        {"it flies": {"cem": (-0.05, -0.05, -0.6)}, "by what it learned": {"untrained": -0.2}},
    ),
    "mve": Row(
        {"mve": -150, "real only": -900, "equal": -1400, "steve": -200, "ddpg": -600},
        {
            "the model's steps help": {"ddpg": -200},
            "TD-k is needed for it": {"real only": -190},
        },
    ),
    "naf": Row(
        {"imagination": -25, "left on": -27, "ilqg": -24, "plain": -45, "replay": -34},
        {
            "imagined rows help": {"plain": (-20, -26, -32), "ilqg": -25.5},
            "more than as many updates from real ones": {"replay": -24.5},
            "iLQG adds little": {"ilqg": -19},
            "they are better switched off halfway": {"left on": -24},
        },
    ),
    "planet": Row(
        {"planet": (-160, -170, -180), "d4pg": -600, "d4pg, twice": -180, **PENDULUM},
        {
            "more after the same steps": {"d4pg": (-600, -600, -175)},
            "as much as after twice as many": {"d4pg, twice": -150},
        },
    ),
    "planet-tasks": Row(
        {
            "both: point mass": 30,
            "both: pendulum": -500,
            "alone: pendulum": -400,
            "random: point mass": 3,
            "random: pendulum": -1300,
        },
        {
            "it learns the point mass": {"both: point mass": 8},
            "and the pendulum": {"both: pendulum": -1000},
        },
    ),
    "sac": Row(
        {"sac": -150, **PENDULUM},
        {"every seed learns": {"sac": (-150, -150, -400)}, "random does not": {"random": -200}},
    ),
    "steve": Row(
        {"weighted": 600, "no model": 600, "true model": 100, "wrong model": 1000},
        {
            "a true model helps": {"true model": 650},
            "a wrong one hurts": {"wrong model": 550},
            "weights save from it": {"weighted": 900},
        },
    ),
    "world-models": Row(
        {"z and h": 500, "z": 150, **SAME_POLES},
        {"h is enough": {"z and h": (500, 500, 400)}, "z is not": {"z": (100, 100, 300)}},
    ),
    "world-models-car": Row(
        {"z and h": 800, "z": 400, "z, hidden layer": 500},
        {"h is enough": {"z and h": (800, 500)}, "z is not": {"z": (400, 700)}},
    ),
    "world-models-cover": Row(
        {
            "temperature 0.1": 200,
            "temperature 0.5": 200,
            "temperature 1.0": 700,
            "temperature 1.15": 1000,
            "temperature 1.3": 700,
            "random": 300,
        },
        {
            "uncertain dreams teach it": {"temperature 1.15": 500},
            "certain ones do not": {  # by chance, perhaps
                "temperature 0.1": (600, 700, 740),
                "temperature 1.15": (700, 760, 800),
            },
        },
    ),
    "world-models-dream": Row(
        {
            "temperature 0.1": 150,
            "temperature 0.5": 180,
            "temperature 1.0": 200,
            "temperature 1.3": 190,
            "memory untrained": 40,
        },
        {
            "uncertain dreams transfer": {"temperature 1.0": (200, 200, 120)},
            "certain ones do worse": {"temperature 0.1": 195},
            "the memory must have learned": {"memory untrained": 198},
        },
    ),
    "world-models-sizes": Row(
        {"VAE": 4_348_547, "MDN-RNN": 422_368, "controller": 867},
        {
            "VAE": {"VAE": 4_446_915},
            "MDN-RNN": {"MDN-RNN": 423_392},
            "controller": {"controller": 1443},
        },
    ),
    # Far from every gate, since these gates are young.
    "distral": Row(
        {"two columns": 40_000, "one column": 42_000, "independent": 100_000},
        {"together is faster": {"two columns": 95_000, "one column": 96_000}},
    ),
    "tdm": Row(
        {
            "tdm": 0.012,
            "tdm, half": 0.03,
            "tdm, best of many actions": 0.012,
            "tdm, best of many goals": 0.012,
            "ddpg": 0.06,
            "ddpg+her": 0.04,
            "mpc": 0.012,
            "random": 0.3,
        },
        {
            "better than DDPG with HER": {"ddpg+her": 0.011},
            "ahead of DDPG at half time": {"tdm, half": 0.1},
            "near planning": {"mpc": 0.002},
        },
    ),
    "tdm-push": Row(
        {"tdm": 0.05, "ddpg": 0.05, "ddpg+her": 0.06, "mpc": 0.15, "random": 0.2},
        {
            "as near as DDPG": {"ddpg": 0.01},
            "it learns": {"random": 0.04},
        },
    ),
    "distral-shared": Row({"shared": (60, 70, 65), "uniform": 120}, {"": {"uniform": 70}}),
    "dreamer-actor": Row(
        {"actor, paper": 0.2, "plan, paper": 1000, "actor, laptop": 0.1, "plan, laptop": 20},
        {"": {"plan, laptop": 0.9}},
    ),
    "mpc-cartpole": Row(
        {"cem": 190, "one member": 60, "sac": 20},
        {"in a handful of trials": {"cem": (190, 190, 90)}, "SAC needs more": {"sac": 195}},
    ),
    "i2a": Row(
        {
            "depth 1": 0.4,
            "depth 3": 0.5,
            "depth 5": 0.6,
            "copy 3": 0.25,
            "poor 3, half": 0.38,
            "true 3": 0.6,
            "A2C": 0.28,
            "A2C, half": 0.35,
            "A2C, long": 0.4,
            "random": 0.2,
        },
        {
            "imagination helps": {"copy 3": 0.48},
            "the deeper the more": {"depth 1": 0.55},
            "more than the model-free path for each step": {"A2C": (0.5, 0.4, 0.6)},
            "and for each second": {"A2C, long": 0.5},
            "a wrong model is ignored": {"poor 3, half": 0.3},
        },
    ),
}


def judged(name: str, arms: Arms) -> Verdict:
    """What a claim's judge says of them."""
    about = claim(name)
    assert set(arms) == set(about.arms), "a row has values of all arms, and of no others"
    seeds = len(about.seeds)
    values = {
        arm: [float(found)] * seeds if isinstance(found, int | float) else found
        for arm, found in arms.items()
    }
    return about.judge(values)


def test_every_claim_has_a_row() -> None:
    assert set(ROWS) == set(CLAIMS)


@pytest.mark.parametrize("name", ROWS)
def test_a_judge_says_yes_to_what_the_claim_describes(name: str) -> None:
    verdict = judged(name, ROWS[name].good)
    assert verdict.holds, verdict


@pytest.mark.parametrize(
    ("name", "lacks"), [(name, lacks) for name, row in ROWS.items() for lacks in row.bad]
)
def test_and_no_where_any_of_it_is_missing(name: str, lacks: str) -> None:
    verdict = judged(name, {**ROWS[name].good, **ROWS[name].bad[lacks]})
    assert not verdict.holds, verdict
    assert str(verdict).startswith("not reproduced")
    if verdict.parts:
        assert not verdict.parts[lacks]
        assert f"{lacks}: no" in verdict.why


@pytest.mark.parametrize("name", ROWS)
def test_every_part_of_a_claim_can_fail(name: str) -> None:
    row = ROWS[name]
    assert row.bad
    assert set(judged(name, row.good).parts) <= set(row.bad)


def test_a_verdict_in_parts_names_those_that_hold_and_those_that_do_not() -> None:
    assert str(in_parts({"a": True, "b": True}, "3")) == "reproduced: a: yes; b: yes; 3"
    some = "not reproduced but for 1 of 2 parts, because a: yes; b: no; 3"
    assert str(in_parts({"a": True, "b": False}, "3")) == some
    assert str(in_parts({"a": False}, "3")) == "not reproduced, because a: no; 3"


def test_what_means_may_differ_by_is_two_standard_errors_by_hand() -> None:
    # Variances 1 and 4 of three seeds each: 2 * sqrt(1 / 3 + 4 / 3).
    assert blur([1, 2, 3], [0, 2, 4]) == pytest.approx(2 * (5 / 3) ** 0.5)
    assert blur([1], [5]) == 0
