"""The formats by name: writes an export, opens what is to be imported."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from server.datasets import lerobot, lerobot_reader, minari
from server.datasets.episodes import About, Found, Recorded
from server.datasets.lerobot_files import INFO
from server.datasets.manifest import FormatName, Manifest, check_files, read_manifest
from server.errors import Invalid


class Writer(Protocol):
    """Writes a dataset, episode by episode."""

    @property
    def names(self) -> dict[str, str]:
        """Name in the format of each observation key."""
        ...

    @property
    def lossy(self) -> list[str]:
        """Columns that are not kept bit for bit."""
        ...

    def add(self, episode: Recorded) -> None:
        """Write an episode of at least two rows."""
        ...

    def finish(self) -> None:
        """Complete the files."""
        ...


def make_writer(
    name: FormatName, folder: Path, about: About, images: lerobot.Images, title: str
) -> Writer:
    """A writer into an empty folder. Raises Invalid when the format does not take the spaces."""
    if name == "lerobot":
        return lerobot.LeRobotWriter(folder, about, images)
    if images == "video":
        raise Invalid("images", "png with the format minari", images)
    return minari.MinariWriter(folder, about, title)


def open_export(folder: Path, manifest: Manifest) -> Found:
    """An export of ours. Raises Invalid when anything about it has changed."""
    check_files(folder, manifest)
    if manifest.format == "lerobot":
        return lerobot_reader.open_ours(folder, manifest)
    return minari.open_ours(folder, manifest)


def open_dataset(folder: Path, like: About | None) -> tuple[FormatName, Found, Manifest | None]:
    """Whatever dataset is in a folder, and its manifest where it is an export of ours.

    Args:
        folder: the dataset's root.
        like: spaces that one which is not ours should have; None takes what it says of itself.

    Raises Invalid when it is none that is known.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        return manifest.format, open_export(folder, manifest), manifest
    if (folder / INFO).exists():
        return "lerobot", lerobot_reader.open_foreign(folder, like), None
    if any((folder / part / "metadata.json").exists() for part in (".", minari.DATA)):
        return "minari", minari.open_foreign(folder, like), None
    raise Invalid("dataset", f"{INFO} of LeRobot or data/metadata.json of Minari", "neither")
