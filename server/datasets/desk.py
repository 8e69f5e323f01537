"""What an operator does with datasets: export, import, list, verify, delete."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
from pathlib import Path

from server.datasets.demonstrations import shelf_of
from server.datasets.jobs import Job, Jobs
from server.datasets.lerobot import Images
from server.datasets.manifest import FILE, FormatName
from server.datasets.shelf import Dataset, checked_name, described, listed, remove
from server.errors import Conflict, NotFound
from server.settings import Settings
from server.storage import Experiment, Robot, Storage

_EXPORT = re.compile("[0-9a-f]{8}")


class Desk:
    """The datasets and exports of a server. What a server that was killed left half done goes.

    Args:
        settings: where the data is.
        storage: knows the robots.
    """

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._settings, self._storage = settings, storage
        self._home, self._exports = shelf_of(settings), settings.data / "exports"
        self.jobs = Jobs()
        for folder in (self._home, self._exports):
            for left in folder.glob(".*"):
                # A worker of a server that was killed may take a moment to notice.
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()

    async def export(
        self, experiment: Experiment, format_name: FormatName, images: Images, episodes: str
    ) -> Job:
        """Begin to export; the export has the job's id. Raises Conflict before the first row."""
        if experiment.observation_space is None or not experiment.rows:
            raise Conflict(f"experiment {experiment.id} has no rows yet")
        name = secrets.token_hex(4)
        order = {
            "experiment": experiment.id,
            "title": experiment.name,
            "replay": str(self._settings.experiment_dir(experiment.id) / "replay"),
            "out": str(self._exports / name),
            "format": format_name,
            "images": images,
            "episodes": episodes,
            "observation_space": experiment.observation_space,
            "action_space": experiment.action_space,
            "control_hz": await self._pace(experiment.id),
        }
        self._exports.mkdir(parents=True, exist_ok=True)
        return self.jobs.start("export", experiment.id, order, name)

    def export_folder(self, name: str) -> Path:
        """The folder of a finished export. Raises NotFound."""
        folder = self._exports / name
        if not _EXPORT.fullmatch(name) or not (folder / FILE).is_file():
            raise NotFound(f"no finished export {name!r}")
        return folder

    def exports(self) -> list[str]:
        """The ids of the finished exports."""
        return sorted(path.parent.name for path in self._exports.glob(f"[!.]*/{FILE}"))

    async def delete_export(self, name: str) -> None:
        """Delete a finished export. Raises NotFound."""
        folder = self.export_folder(name)
        doomed = folder.with_name(f".{name}.gone")
        folder.rename(doomed)
        await asyncio.to_thread(shutil.rmtree, doomed)

    def upload(self, name: str) -> Path:
        """A file to put the tar of a dataset into that is to be imported under a name.

        Raises:
            Invalid: it is no name that a dataset may have.
            Conflict: there is one of that name.
        """
        if (self._home / checked_name(name)).exists():
            raise Conflict(f"there is a dataset {name!r}: choose another name")
        self._home.mkdir(parents=True, exist_ok=True)
        return self._home / f".{name}-{secrets.token_hex(4)}.tar"

    async def import_(self, name: str, archive: Path, robot: str | None) -> Job:
        """Begin to import what was uploaded, with the spaces of a robot if one is named.

        Raises NotFound when there is no such robot, and Conflict while one of that name comes in.
        """
        like = await self._spaces(robot) if robot else None
        order = {"archive": str(archive), "home": str(self._home), "name": name, "like": like}
        return self.jobs.start("import", name, order)

    async def list(self) -> list[Dataset]:
        """Every dataset, by name."""
        return await asyncio.to_thread(listed, self._home)

    async def get(self, name: str) -> Dataset:
        """Raises NotFound."""
        return await asyncio.to_thread(described, self._home, name)

    async def verify(self, name: str) -> Job:
        """Begin to check a dataset. Raises NotFound."""
        await self.get(name)
        return self.jobs.start("verify", name, {"home": str(self._home), "name": name})

    async def delete(self, name: str) -> None:
        """Delete a dataset; experiments that began with it keep their copy. Raises NotFound."""
        await asyncio.to_thread(remove, self._home, name)

    async def _pace(self, experiment: str) -> float | None:
        robots = await asyncio.to_thread(self._storage.robots)
        return max((r.control_hz for r in robots if r.experiment == experiment), default=None)

    async def _spaces(self, name: str) -> dict[str, object]:
        robots: list[Robot] = await asyncio.to_thread(self._storage.robots)
        for robot in robots:
            if robot.name == name:
                columns = ("observation_space", "action_space", "control_hz")
                return {column: getattr(robot, column) for column in columns}
        raise NotFound(f"no robot {name!r} has ever connected")
