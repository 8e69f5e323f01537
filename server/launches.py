"""Starts the learners of experiments, once it is known what their robots observe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from server.descriptions import write_description
from server.roster import Roster
from server.storage import Experiment
from server.supervisor import Supervisor


class Launches:
    """Describes an experiment in its directory, and has its learner started there.

    Args:
        supervisor: starts it.
        roster: knows what its robots are to do.
        directory: an experiment's.
    """

    def __init__(
        self, supervisor: Supervisor, roster: Roster, directory: Callable[[str], Path]
    ) -> None:
        self._supervisor, self._roster, self._directory = supervisor, roster, directory
        self._under_way: set[asyncio.Task[None]] = set()

    async def launch(self, experiment: Experiment) -> None:
        """Start the learner, if the spaces are known: else the first robot's hello does."""
        if experiment.observation_space is None:
            return
        directory, task = self._directory(experiment.id), self._roster.task(experiment.id)
        await asyncio.to_thread(write_description, directory, experiment, task)
        self._supervisor.start(experiment.id, directory)

    def launch_soon(self, experiment: Experiment, lock: asyncio.Lock) -> None:
        """The same, without waiting for it, as soon as nobody holds the experiment's lock."""
        task = asyncio.create_task(self._launch_first(experiment, lock))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _launch_first(self, experiment: Experiment, lock: asyncio.Lock) -> None:
        async with lock:
            if experiment.state == "running":  # an operator may have been quicker
                await self.launch(experiment)

    def close(self) -> None:
        """Start none any more."""
        for task in self._under_way:
            task.cancel()
