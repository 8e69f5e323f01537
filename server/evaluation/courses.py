"""Where the roll-out of every experiment stands, in memory and in the database."""

from __future__ import annotations

import asyncio

from server.storage import Course, Storage, Writer


class Courses:
    """One per experiment; made when it is asked for.

    Args:
        storage, writer: the database.
    """

    def __init__(self, storage: Storage, writer: Writer) -> None:
        self._storage, self._writer = storage, writer
        self._courses: dict[str, Course] = {}

    async def load(self) -> None:
        """Read what is stored."""
        found = await asyncio.to_thread(self._storage.courses)
        self._courses = {course.experiment: course for course in found}

    def of(self, experiment: str) -> Course:
        """That of an experiment; a change must be saved."""
        if experiment not in self._courses:
            self._courses[experiment] = _fresh(experiment)
        return self._courses[experiment]

    async def save(self, course: Course) -> None:
        """Write it down."""
        self._writer.put(course)
        await self._writer.flush()

    def forget(self, experiment: str) -> None:
        """The experiment is gone."""
        self._courses.pop(experiment, None)


def _fresh(experiment: str) -> Course:
    return Course(
        experiment=experiment,
        stable=None,
        previous=None,
        candidate=None,
        canaries=[],
        looks=0,
        watched=0,
        refused=-1,
        best=None,
        checkpoint=None,
    )
