"""The datasets of a server: each a folder with a replay store and `dataset.json`.

A dataset belongs to no experiment. Its rows are kept as they were recorded; an experiment that
begins with them gets a copy, marked as a person's demonstrations.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from robot_client.durable import sync_directory, write_durably
from robot_client.schema import Json, row_fields
from server.datasets.episodes import (
    About,
    EpisodeStore,
    Found,
    Progress,
    Recorded,
    ReplayEpisodes,
    digest,
)
from server.datasets.export import make_durable
from server.datasets.formats import open_dataset
from server.datasets.manifest import Manifest, about_of, check_entry, spaces_json
from server.datasets.steps import demonstration
from server.errors import Conflict, Invalid, NotFound, ReplayError
from server.replay.store import ReplayStore

FILE, REPLAY = "dataset.json", "replay"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Dataset(BaseModel):
    """A dataset of the server.

    `notes` says what an import had to assume, `lossy` which columns lost bits in the export.
    `sha256` is that of all episodes' contents, in order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    format: str
    created_at: float
    observation_space: Json
    action_space: Json
    control_hz: float
    episodes: int
    rows: int
    robots: list[str]
    tasks: list[str]
    lossy: list[str]
    notes: list[str]
    sha256: str

    @property
    def about(self) -> About:
        """Spaces and pace. Raises SchemaError."""
        return about_of(self.observation_space, self.action_space, self.control_hz)


def checked_name(name: str) -> str:
    """A name that a dataset may have, which is also its folder's. Raises Invalid."""
    if not _NAME.fullmatch(name):
        expected = "1 to 64 letters, digits, dots, dashes; no dash or dot first"
        raise Invalid("name", expected, repr(name)[:80])
    return name


def listed(home: Path) -> list[Dataset]:
    """Every dataset below `home`, by name. One that cannot be read is left out."""
    found = []
    for path in sorted(home.glob(f"*/{FILE}")):
        if not path.parent.name.startswith("."):
            found.append(described(home, path.parent.name))
    return found


def described(home: Path, name: str) -> Dataset:
    """The dataset of that name. Raises NotFound, or ReplayError when its file is damaged."""
    path = home / checked_name(name) / FILE
    try:
        return Dataset.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"no dataset {name!r}") from error
    except ValidationError as error:
        raise ReplayError(f"{path} is damaged: {error.errors()[0]}") from error


def remove(home: Path, name: str) -> None:
    """Delete a dataset: it is gone at once, whatever happens meanwhile. Raises NotFound."""
    folder = home / checked_name(name)
    if not folder.is_dir():
        raise NotFound(f"no dataset {name!r}")
    doomed = home / f".{name}.gone"
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def import_dataset(
    folder: Path, home: Path, name: str, like: About | None, now: float, progress: Progress
) -> Dataset:
    """Make a dataset of what is in a folder: all of it, or nothing.

    Args:
        folder: a LeRobotDataset v3.0 or a Minari dataset; an export of ours must be unchanged.
        home: where the datasets are.
        name: of the new one.
        like: spaces that a dataset which is not an export of ours should have.
        now: seconds since 1970.

    Raises:
        Conflict: there is one of that name.
        Invalid, SchemaError: the dataset cannot be read, or does not fit.
        ReplayError: the disk is full or broken.
    """
    if (home / checked_name(name)).exists():
        raise Conflict(f"there is a dataset {name!r}: choose another name")
    format_name, found, manifest = open_dataset(folder, like)
    part = home / f".{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        made = _fill(part, found, manifest, name, progress)
        dataset = Dataset(
            name=name,
            format=format_name,
            created_at=now,
            control_hz=found.about.control_hz,
            lossy=manifest.lossy if manifest else [],
            notes=[*found.notes, *(manifest.left_out if manifest else [])],
            **spaces_json(found.about),
            **made,
        )
        write_durably(part / FILE, dataset.model_dump_json(indent=1).encode())
        make_durable(part)
        part.rename(home / name)
        sync_directory(home)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return dataset


def verify(home: Path, name: str, progress: Progress) -> Json:
    """Walk through a dataset: is every stream whole, and every number what it was?"""
    dataset = described(home, name)
    store = ReplayStore(home / name / REPLAY, readonly=True)
    try:
        audit = store.verify()
        tally = _Tally()
        for done, episode in enumerate(_episodes(store)):
            tally.add(episode)
            progress(done + 1, dataset.episodes)
    finally:
        store.close()
    problems = [*audit.problems]
    for field, got in tally.result().items():
        if got != (expected := getattr(dataset, field)):
            problems.append(f"{field}: expected {expected}, got {got}")
    return {"name": name, "rows": audit.rows, "problems": problems}


def begin(home: Path, names: Sequence[str], replay: Path) -> int:
    """Make the replay of a new experiment out of datasets. Returns the rows; all or nothing.

    The rows are those of robots `import:<dataset>:<robot>`, a person's, of no policy.

    Raises:
        NotFound: a dataset is not there.
        ReplayError: the disk is full or broken.
    """
    part = replay.with_name(f".{replay.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    store = ReplayStore(part)
    try:
        for name in names:
            _copy(home, name, store)
        rows = store.rows
        store.close()
        part.rename(replay)
        sync_directory(replay.parent)
    finally:
        store.close()
        shutil.rmtree(part, ignore_errors=True)
    return rows


def refuse_other_spaces(field: str, expected: Json, got: Json, whose: str) -> None:
    """Raise Invalid that names the first part in which two spaces, as JSON, differ."""
    if expected == got:
        return
    mine, theirs = expected.get("spaces"), got.get("spaces")
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in sorted(mine.keys() | theirs.keys()):
            if mine.get(key) != theirs.get(key):
                field, expected, got = f"{field}.{key}", mine.get(key, {}), theirs.get(key, {})
                break
    raise Invalid(field, f"{_brief(expected)}, as {whose}", _brief(got))


def _copy(home: Path, name: str, store: ReplayStore) -> None:
    about = described(home, name).about
    target = EpisodeStore(store, row_fields(about.observation_space, about.action_space))
    source = ReplayStore(home / name / REPLAY, readonly=True)
    try:
        for episode in _episodes(source):
            robot = f"import:{name}" + (f":{episode.robot}" if episode.robot != name else "")
            columns = demonstration(episode.columns)
            target.add(Recorded(robot, episode.epoch, episode.number, episode.task, columns))
        target.flush()
    finally:
        source.close()


def _fill(
    part: Path, found: Found, manifest: Manifest | None, name: str, progress: Progress
) -> Json:
    store = ReplayStore(part / REPLAY)
    try:
        about, tally = found.about, _Tally()
        target = EpisodeStore(store, row_fields(about.observation_space, about.action_space))
        for number, episode in enumerate(found.episodes):
            if manifest is not None:
                check_entry(number, manifest.episodes[number], episode, manifest.lossy)
            robot = episode.robot or name
            kept = Recorded(robot, episode.epoch, episode.number, episode.task, episode.columns)
            target.add(kept)
            tally.add(kept)
            progress(number + 1, found.count)
        target.flush()
        audit = store.verify()
    finally:
        store.close()
    if audit.problems or audit.rows != tally.rows or tally.episodes != found.count:
        raise ReplayError(f"{audit.rows} rows of {tally.rows} were stored: {audit.problems[:3]}")
    return tally.result()


class _Tally:
    """Counts episodes, and what they are, as they go by."""

    def __init__(self) -> None:
        self.episodes = self.rows = 0
        self._robots: set[str] = set()
        self._tasks: set[str] = set()
        self._digest = hashlib.sha256()

    def add(self, episode: Recorded) -> None:
        self.episodes += 1
        self.rows += episode.rows
        self._robots.add(episode.robot)
        self._tasks.add(episode.task)
        who = json.dumps([episode.robot, episode.epoch, episode.number, episode.task])
        self._digest.update(f"{who} {digest(episode.columns)}\n".encode())

    def result(self) -> Json:
        return {
            "episodes": self.episodes,
            "rows": self.rows,
            "robots": sorted(self._robots),
            "tasks": sorted(self._tasks),
            "sha256": self._digest.hexdigest(),
        }


def _episodes(store: ReplayStore) -> Iterator[Recorded]:
    episodes = ReplayEpisodes(store)
    return (episodes.read(place) for place in episodes.places)


def _brief(space: Json) -> str:
    return json.dumps(space)[:400] if space else "nothing"
