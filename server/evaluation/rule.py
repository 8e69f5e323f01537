"""When a version of a policy has become worse than the one before it: a rule without memory.

A candidate is compared with its baseline in three ways: its returns are lower, its episodes have
more safety events, its actions are moved further by the limits. Each comparison is a permutation
test (`statistics.worse`). It looks when the candidate has `min_episodes`, `episodes`, and then 2,
4, 8 ... times `episodes`; at look number k each of the three tests has the level
`false_alarms` / (3 * 2**k). All levels together are less than `false_alarms`: that is the most that
a version which is as good as its baseline is ever rolled back, however long it is watched (a union
bound; nothing is assumed of the returns).

Episodes that were cut tell nothing, but for those with safety events: these are looked at too, and
their returns are not. A candidate is promoted at the first look at which `episodes` of its returns
count and it is not worse. Hysteresis: promotion takes no
proof that it is better and a roll-back takes proof that it is worse; a version that was rolled back
is never tried again; and the next one needs as many episodes of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from server.evaluation.settings import RolloutSettings
from server.evaluation.statistics import worse

Verdict = Literal["wait", "promote", "back"]
_TESTS = 3


@dataclass(frozen=True)
class Played:
    """An episode that one version played from beginning to end.

    Args:
        total_reward: its return.
        safety_events: emergency stops, holds and falls in it.
        moved_by_limits: how far the limits moved its actions, in mean shares of their range.
        cut: somebody or something ended it before its time: the return says nothing.
    """

    total_reward: float
    safety_events: int
    moved_by_limits: float
    cut: bool


@dataclass(frozen=True)
class Decision:
    """What is to be done, why, in numbers, and how many looks have been taken by now."""

    verdict: Verdict
    reason: str
    looks: int


def decide(
    candidate: Sequence[Played], baseline: Sequence[Played], rule: RolloutSettings, looked: int = 0
) -> Decision:
    """Judge a candidate by the episodes so far.

    Args:
        candidate, baseline: the episodes of each.
        rule: the numbers of the rule.
        looked: how many looks have been taken before; they are not taken again.
    """
    candidate, baseline = (_telling(side) for side in (candidate, baseline))
    look = looks_due(len(candidate), rule)
    if look <= looked or len(_returns(baseline)) < rule.min_episodes:
        return Decision("wait", "", looked)
    level = rule.false_alarms / (_TESTS * 2**look)
    found = [
        _compare("returns", _returns(candidate), _returns(baseline), rule, rule.tolerance),
        _compare("safety events", _events(candidate), _events(baseline), rule),
        _compare("moves by the limits", _moved(candidate), _moved(baseline), rule),
    ]
    tested = [each for each in found if each is not None]
    failed = [text for p, text in tested if p <= level]
    if failed:
        return Decision("back", f"{'; '.join(failed)} (level {level:.2g})", look)
    texts = [text for _, text in tested]
    enough = len(_returns(candidate)) >= rule.episodes
    return Decision("promote" if enough else "wait", "; ".join(texts), look)


def looks_due(episodes: int, rule: RolloutSettings) -> int:
    """How many looks are to have been taken when a version has so many episodes."""
    if episodes < rule.episodes:
        return int(episodes >= rule.min_episodes)
    first = int(rule.min_episodes < rule.episodes)
    return first + 1 + math.floor(math.log2(episodes / rule.episodes))


def _compare(
    name: str,
    candidate: list[float],
    baseline: list[float],
    rule: RolloutSettings,
    margin: float = 0.0,
) -> tuple[float, str] | None:
    """The p-value and what it is of, in words; None without enough episodes on each side.

    More is better; what is printed is turned round where less is.
    """
    if min(len(candidate), len(baseline)) < rule.min_episodes:
        return None
    p = worse(candidate, baseline, margin)
    sign = 1 if name == "returns" else -1
    means = [sign * math.fsum(values) / len(values) + 0.0 for values in (candidate, baseline)]
    counts = f"{len(candidate)} and {len(baseline)} episodes"
    return p, f"{name} {means[0]:.4g} against {means[1]:.4g} over {counts}, p = {p:.2g}"


def _telling(played: Sequence[Played]) -> list[Played]:
    """Without those that were cut for no reason of safety: they tell nothing."""
    return [each for each in played if not each.cut or each.safety_events]


def _returns(played: Sequence[Played]) -> list[float]:
    return [each.total_reward for each in played if not each.cut]


def _events(played: Sequence[Played]) -> list[float]:
    return [-float(each.safety_events) for each in played]


def _moved(played: Sequence[Played]) -> list[float]:
    return [-each.moved_by_limits for each in played]
