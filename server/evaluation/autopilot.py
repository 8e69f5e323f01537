"""Applies the roll-out's rule: a new version goes to canaries, then to all, or back.

What it holds the robots to is never seen where an operator has pinned a version for all, and it
decides nothing meanwhile; a robot with a version of its own from an operator is no canary. Every
decision is an event, with the numbers that it rests on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from server.errors import Conflict, NotFound
from server.evaluation.courses import Courses
from server.evaluation.rule import Decision, Played, decide
from server.evaluation.settings import RolloutSettings
from server.journal import Journal
from server.rollout import EVERYONE, Rollout
from server.storage import Course, Experiment, Storage, Writer


class Autopilot:
    """Decides for every experiment that asks for it.

    Args:
        storage, writer: the database.
        rollout: offers what is decided.
        courses: remember it.
        journal: told of every decision.
    """

    def __init__(
        self,
        storage: Storage,
        writer: Writer,
        rollout: Rollout,
        courses: Courses,
        journal: Journal,
    ) -> None:
        self._storage, self._writer = storage, writer
        self._rollout, self._courses, self._journal = rollout, courses, journal

    async def look(self, experiment: Experiment, robots: Collection[str]) -> None:
        """Decide what can be decided. `robots` are those of the experiment that are there."""
        settings = RolloutSettings.model_validate(experiment.rollout)
        course = self._courses.of(experiment.id)
        if not settings.automatic:
            await self._let_go(course)
            return
        newest = self._rollout.newest(experiment.id)
        pins = self._rollout.pins(experiment.id)
        if EVERYONE in pins or newest is None:
            return
        await self._writer.settle()
        if course.stable is None:
            await self._begin(course, newest)
        elif not await self._watch(course, settings):
            await self._try(course, settings, newest, sorted({*robots} - pins.keys()))

    async def _begin(self, course: Course, newest: int) -> None:
        course.stable = newest
        await self._decided(course, "rollout_begun", f"version {newest} is offered to all")

    async def _watch(self, course: Course, settings: RolloutSettings) -> bool:
        """Compare what all robots have with what they had before. Whether it was taken back."""
        if course.previous is None or course.stable is None:
            return False
        ours, before = [await self._played(course, v) for v in (course.stable, course.previous)]
        found = decide([p for _, p in ours], [p for _, p in before], settings, course.watched)
        if found.verdict == "back":
            text = f"version {course.stable} back to {course.previous}: {found.reason}"
            course.refused = max(course.refused, course.stable)
            course.stable, course.previous = course.previous, None
            _end_trial(course)
            await self._decided(course, "rollout_rolled_back", text)
            return True
        if found.looks != course.watched:
            course.watched = found.looks
            await self._courses.save(course)
        return False

    async def _try(
        self, course: Course, settings: RolloutSettings, newest: int, robots: Sequence[str]
    ) -> None:
        """Judge the candidate; without one, begin to try the newest version."""
        assert course.stable is not None
        stable = await self._played(course, course.stable)
        if course.candidate is not None:
            tried = [p for _, p in await self._played(course, course.candidate)]
            found = decide(
                tried, _baseline(stable, course.canaries, settings), settings, course.looks
            )
            await self._judged(course, found)
            return
        canaries = (
            [r for r in settings.canaries if r in robots] if settings.canaries else robots[:1]
        )
        untried = newest > max(course.stable, course.refused)
        if untried and canaries and _fair(stable) >= settings.min_episodes:
            course.candidate, course.canaries = newest, list(canaries)
            text = f"version {newest} on {', '.join(canaries)}, {course.stable} on the others"
            await self._decided(course, "rollout_canary", text)

    async def _judged(self, course: Course, found: Decision) -> None:
        candidate, stable = course.candidate, course.stable
        assert candidate is not None
        if found.verdict == "back":
            course.refused = max(course.refused, candidate)
            _end_trial(course)
            text = f"version {candidate} back to {stable}: {found.reason}"
            await self._decided(course, "rollout_rolled_back", text)
        elif found.verdict == "promote":
            course.previous, course.stable, course.watched = stable, candidate, found.looks
            _end_trial(course)
            text = f"version {candidate} after {stable}: {found.reason}"
            await self._decided(course, "rollout_promoted", text)
        elif found.looks != course.looks:
            course.looks = found.looks
            await self._courses.save(course)

    async def _let_go(self, course: Course) -> None:
        """The rule is switched off: the newest version is offered again."""
        if course.stable is None:
            return
        course.stable = course.previous = None
        _end_trial(course)
        await self._decided(course, "rollout_released", "the rule is off: the newest is offered")

    async def _decided(self, course: Course, kind: str, text: str) -> None:
        await self._hold(course)
        await self._courses.save(course)
        self._journal.note(kind, text, course.experiment)

    async def _hold(self, course: Course) -> None:
        wanted = holds_of(course)
        try:
            await self._rollout.hold(course.experiment, wanted)
        except (Conflict, NotFound) as error:  # the learner has pruned it: the next one is newer
            self._journal.note("rollout_failed", str(error), course.experiment)
            await self._fall_back(course, wanted)

    async def _fall_back(self, course: Course, wanted: Mapping[str, int]) -> None:
        """Without the files of the candidate, go on without it; of the other, begin anew."""
        if course.candidate is not None:
            course.refused = max(course.refused, course.candidate)
            _end_trial(course)
        else:
            course.stable = course.previous = None
        kept = {} if course.stable is None else {EVERYONE: wanted[EVERYONE]}
        await self._rollout.hold(course.experiment, kept)

    async def _played(self, course: Course, version: int) -> list[tuple[str, Played]]:
        """The newest episodes that a version played to learn, with their robots."""
        found = await asyncio.to_thread(
            self._storage.episodes_of_version, course.experiment, version
        )
        return [
            (e.robot, Played(e.total_reward, e.safety_events, e.moved_by_limits, not e.fair))
            for e in found
        ]


def holds_of(course: Course) -> dict[str, int]:
    """What the rule offers, by robot or EVERYONE."""
    if course.stable is None:
        return {}
    trial = {} if course.candidate is None else dict.fromkeys(course.canaries, course.candidate)
    return {EVERYONE: course.stable, **trial}


def _baseline(
    stable: Sequence[tuple[str, Played]], canaries: Collection[str], settings: RolloutSettings
) -> list[Played]:
    """What the same robots did before, if that is enough: no two robots are alike."""
    own = [played for robot, played in stable if robot in canaries]
    enough = sum(not played.cut for played in own) >= settings.min_episodes
    return own if enough else [played for _, played in stable]


def _fair(played: Sequence[tuple[str, Played]]) -> int:
    """How many of the episodes were not cut."""
    return sum(not each.cut for _, each in played)


def _end_trial(course: Course) -> None:
    course.candidate, course.canaries, course.looks = None, [], 0
