"""Removes experiments for good, so that a crash leaves all of one, or nothing after a restart.

The directory is first renamed into `trash/`, which decides it: what is there is removed from the
database and from the disk, now or when the server starts again.
"""

from __future__ import annotations

import os
import shutil

from robot_client.durable import sync_directory
from server.settings import Settings
from server.storage import Storage


class Removal:
    """Blocking: call it from a thread.

    Args:
        settings: where the data is.
        storage: the database.
    """

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._settings, self._storage = settings, storage
        self._trash = settings.data / "trash"

    def remove(self, experiment: str) -> None:
        """Remove an experiment that nothing works on any more."""
        home, doomed = self._settings.experiment_dir(experiment), self._trash / experiment
        self._trash.mkdir(exist_ok=True)
        if home.exists():
            os.rename(home, doomed)
            sync_directory(home.parent)
        else:
            doomed.mkdir(exist_ok=True)
        sync_directory(self._trash)
        self._finish(experiment)

    def recover(self) -> None:
        """Finish what a crash has interrupted."""
        for doomed in sorted(self._trash.glob("*")):
            self._finish(doomed.name)

    def _finish(self, experiment: str) -> None:
        self._storage.remove(experiment)
        shutil.rmtree(self._trash / experiment)
