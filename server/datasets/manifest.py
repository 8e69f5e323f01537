"""What an export says of itself beside its format: `dreamfleet.json`, with checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast

from gymnasium import spaces
from pydantic import BaseModel, ConfigDict, ValidationError

from robot_client.durable import write_durably
from robot_client.schema import ActionSpace, Json, space_from_json, space_to_json
from server.datasets.episodes import About, Recorded, digest
from server.errors import Invalid

FILE = "dreamfleet.json"

FormatName = Literal["lerobot", "minari"]


class Entry(BaseModel):
    """One episode: `sha256` is that of its columns, without those that are lossy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    robot: str
    epoch: str
    number: int
    task: str
    rows: int
    sha256: str


class Manifest(BaseModel):
    """An export.

    `names` is the name in the format of each observation key. `lossy` are the columns that are not
    bit for bit what was recorded, `left_out` says what is not there at all. `files` has the
    SHA-256 of every other file, by its path.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    format: FormatName
    experiment: str
    observation_space: Json
    action_space: Json
    control_hz: float
    names: dict[str, str]
    lossy: list[str]
    left_out: list[str]
    episodes: list[Entry]
    files: dict[str, str]

    @property
    def about(self) -> About:
        """Spaces and pace. Raises SchemaError."""
        return about_of(self.observation_space, self.action_space, self.control_hz)

    @property
    def rows(self) -> int:
        """Rows of all episodes."""
        return sum(episode.rows for episode in self.episodes)

    def write(self, folder: Path) -> None:
        """Put it into an export's folder."""
        write_durably(folder / FILE, self.model_dump_json(indent=1).encode())


def about_of(observation_space: Json, action_space: Json, control_hz: float) -> About:
    """Spaces from JSON. Raises SchemaError."""
    observation = space_from_json(observation_space, "observation_space")
    action = space_from_json(action_space, "action_space")
    if not isinstance(observation, spaces.Dict) or isinstance(action, spaces.Dict):
        raise Invalid("spaces", "a Dict observed, a Box or Discrete acted", (observation, action))
    return About(observation, cast(ActionSpace, action), control_hz)


def spaces_json(about: About) -> Json:
    """Both spaces as JSON, by their names."""
    return {
        "observation_space": space_to_json(about.observation_space),
        "action_space": space_to_json(about.action_space),
    }


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of an export of ours, None where there is none. Raises Invalid."""
    try:
        return Manifest.model_validate_json((folder / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise Invalid(FILE, "the manifest of an export", str(error.errors()[0])[:300]) from error


def entry(episode: Recorded, lossy: list[str]) -> Entry:
    """How an episode is listed."""
    return Entry(
        robot=episode.robot,
        epoch=episode.epoch,
        number=episode.number,
        task=episode.task,
        rows=episode.rows,
        sha256=digest(episode.columns, lossy),
    )


def check_entry(number: int, listed: Entry, episode: Recorded, lossy: list[str]) -> None:
    """Raise Invalid when an episode that was read is not the one that was listed."""
    got = entry(episode, lossy)
    if got != listed:
        advice = f"as it was exported (to import changed data, delete {FILE})"
        what = "other rows" if got.rows != listed.rows else "other content"
        raise Invalid(f"episode {number}", advice, what)


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under a folder but the manifest, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in _files(folder)
        if path != folder / FILE
    }


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raise Invalid when a file is missing, another was added, or one has changed."""
    found = checksums(folder)
    for path in sorted(found.keys() | manifest.files.keys()):
        expected, got = manifest.files.get(path), found.get(path)
        if expected != got:
            advice = f"as it was exported (to import changed data, delete {FILE})"
            what = "nothing" if got is None else "a file that was added" if not expected else got
            raise Invalid(path, advice, what)


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
