"""Teachers of an experiment: copies of others' policies and rows, made when it is created.

Its folder `teachers` has a folder for each, `0`, `1` and so on: `teacher.json` with the manifest
and the name of the `task` whose episodes it judges (none: all that no other does), and its blobs.
The teacher's newest episodes begin the replay. Both are copies: the learner that publishes new
versions deletes old ones, and its experiment may be deleted.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import cast

from gymnasium import spaces

from robot_client.durable import sync_directory, write_durably
from robot_client.schema import ActionSpace, Json, row_fields, space_from_json
from server.datasets.episodes import EpisodeStore, Place, Recorded, ReplayEpisodes
from server.errors import Conflict
from server.replay.store import ReplayStore
from server.version_files import blob_path, blobs_of

FILE = "teacher.json"
FOLDER = "teachers"


def copy_teacher(folder: Path, home: Path, manifest: Json, task: str) -> None:
    """Put a version of the experiment with directory `home` into a folder of its own.

    Raises Conflict when newer versions have taken its place.
    """
    folder.mkdir(parents=True)
    try:
        for digest in blobs_of(manifest):
            write_durably(folder / digest, blob_path(home, digest).read_bytes())
    except FileNotFoundError as error:
        what = f"version {manifest.get('version')} of {manifest.get('experiment')}"
        raise Conflict(f"{what} has lost its files: newer ones took over") from error
    text = json.dumps({"task": task, "manifest": manifest}, indent=1)
    write_durably(folder / FILE, text.encode())
    sync_directory(folder.parent)


def take_teachers(directory: Path, teachers: list[Json], rows: int) -> int:
    """Give an experiment that is about to be created its teachers and their rows.

    Args:
        directory: the experiment's.
        teachers: of each, the `home` of its experiment, the version's `manifest`, its `task`, and
            the `observation_space` and `action_space` of its rows.
        rows: of each; whole episodes, the newest, and one at least.

    Returns the rows that there are now.

    Raises:
        Conflict: a version has lost its files, or an experiment has no episodes.
        ReplayError: a replay is damaged, or the disk is full.
    """
    try:
        for number, one in enumerate(teachers):
            folder = directory / FOLDER / str(number)
            copy_teacher(folder, Path(one["home"]), one["manifest"], one["task"])
        return _begin_replay(directory, teachers, rows)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)  # there will be no such experiment
        raise


def _begin_replay(directory: Path, teachers: list[Json], rows: int) -> int:
    part = directory / ".replay.part"
    store = ReplayStore(part)
    try:
        for number, one in enumerate(teachers):
            _copy_rows(number, one, rows, store)
        found = store.rows
        store.close()
        part.rename(directory / "replay")
        sync_directory(directory)
    finally:
        store.close()
        shutil.rmtree(part, ignore_errors=True)
    return found


def _copy_rows(number: int, one: Json, rows: int, store: ReplayStore) -> None:
    seen = cast(spaces.Dict, space_from_json(one["observation_space"], "observation_space"))
    action = cast(ActionSpace, space_from_json(one["action_space"], "action_space"))
    target = EpisodeStore(store, row_fields(seen, action))
    source = ReplayStore(Path(one["home"]) / "replay", readonly=True)
    try:
        episodes = ReplayEpisodes(source)
        newest = _newest(episodes.places, one["task"], rows)
        if not newest:
            raise Conflict(
                f"experiment {one['manifest'].get('experiment')} has no episodes to show"
            )
        for place in newest:
            kept = episodes.read(place)
            robot = f"teacher:{number}:{kept.robot}"
            target.add(Recorded(robot, kept.epoch, kept.number, kept.task, kept.columns))
        target.flush()
    finally:
        source.close()


def _newest(places: list[Place], task: str, rows: int) -> list[Place]:
    """The newest episodes that may be learned from, of a task if one is named, in the order in
    which they began."""
    found: list[Place] = []
    for place in reversed(places):
        if rows > 0 and not place.withheld and (not task or place.task == task):
            found.append(place)
            rows -= place.rows
    return found[::-1]
