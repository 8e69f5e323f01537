"""What people say of episodes: success, failure, or not to be learned from."""

from __future__ import annotations

import asyncio
from typing import Literal

from server.errors import Conflict, NotFound
from server.fleet import Fleet, Session
from server.journal import Journal
from server.storage import EpisodeKey, Mark, Storage, Writer

Outcome = Literal["success", "failure"]


class Marks:
    """Marks of episodes, finished or running.

    Args:
        storage, writer: the database.
        journal: told of every mark.
    """

    def __init__(self, storage: Storage, writer: Writer, journal: Journal) -> None:
        self._storage, self._writer, self._journal = storage, writer, journal
        self._setting = asyncio.Lock()

    async def outcome(self, experiment: str, key: EpisodeKey, outcome: Outcome | None) -> Mark:
        """Say whether the task was done; None: nobody says. Idempotent."""
        async with self._setting:
            mark = await self._mark(experiment, key)
            mark.outcome = outcome or ""
            return await self._save(mark, outcome or "unmarked")

    async def discard(
        self, fleet: Fleet, experiment: str, key: EpisodeKey, discarded: bool = True
    ) -> Mark:
        """Keep the episode from being learned from and counted, or undo that. Idempotent.

        Raises ReplayError when the replay cannot be written.
        """
        async with self._setting:
            store = fleet.store(experiment)
            await asyncio.to_thread(store.discard, *key, discarded)  # first: learners read this
            mark = await self._mark(experiment, key)
            mark.discarded = discarded
            return await self._save(mark, "discarded" if discarded else "counts again")

    async def _mark(self, experiment: str, key: EpisodeKey) -> Mark:
        await self._writer.flush()
        known = await asyncio.to_thread(self._storage.mark, experiment, key)
        return known or Mark(experiment=experiment, **key._asdict(), outcome="", discarded=False)

    async def _save(self, mark: Mark, what: str) -> Mark:
        self._writer.put(mark)
        text = f"episode {mark.episode} of {mark.epoch}: {what}"
        self._journal.note("episode_marked", text, mark.experiment, mark.robot)
        await self._writer.flush()
        return mark


def current_episode(fleet: Fleet, robot: str) -> tuple[Session, EpisodeKey]:
    """The episode that a robot runs or, between two, has run last.

    Raises:
        NotFound: the robot is not connected.
        Conflict: it has not told yet what it does.
    """
    session = next((s for s in fleet.sessions() if s.robot == robot), None)
    if session is None:
        raise NotFound(f"robot {robot} is not connected")
    if session.heartbeat is None:
        raise Conflict(f"robot {robot} has not said yet which episode it runs")
    return session, EpisodeKey(robot, session.epoch, session.heartbeat.episode)
